"""dray: what a script that `dray run` started knows of its activity, and an exact table copy.

`dray.activity`, `dray.params`, `dray.linked_services`, `dray.datasets`, `dray.batch` are what ADF handed over (empty
outside ADF); `dray.outputs` is what goes back; `dray.copy_table`, `dray.copy_tables`, `dray.read`, `dray.write`
and `dray.connect` reach databases. Each is loaded on first use, so that `import dray` costs next to nothing.
"""

# Each name of the package and its module. What type checkers see is in `__init__.pyi`.
_NAMES = {
    "ActivityError": "_errors",
    "ComparedTable": "_verify",
    "Comparison": "_verify",
    "ConnectError": "_errors",
    "Connection": "_connection",
    "Rows": "_arrow",
    "read": "_arrow",
    "write": "_arrow",
    "Copy": "_copy",
    "CopyError": "_errors",
    "CopyPlan": "_copy_plan",
    "CopyProgress": "_copy_run",
    "CopyReport": "_copy",
    "CopyRun": "_copy_run",
    "DatabaseError": "_errors",
    "Difference": "_verify",
    "DriverNotFoundError": "_errors",
    "PlannedTable": "_copy_plan",
    "RunningTable": "_copy_run",
    "TableReport": "_copy",
    "connect": "_connection",
    "copy_table": "_copy",
    "copy_tables": "_copy",
    "plan_copy": "_copy_plan",
    "start_copy": "_copy_run",
    "verify_tables": "_verify",
    "Error": "_errors",
    "OutputsError": "_errors",
    "ParametersError": "_errors",
    "UnresolvedSecretError": "_errors",
    "Activity": "_handover",
    "Batch": "_handover",
    "Dataset": "_handover",
    "LinkedService": "_handover",
    "Parameters": "_handover",
    "Outputs": "_outputs",
    "outputs": "_outputs",
    "KeyVaultSecret": "_secret",
    "Secret": "_secret",
}
_CALLED = {
    "activity": "activity",
    "params": "parameters",
    "linked_services": "linked_services",
    "datasets": "datasets",
    "batch": "batch",
}

__all__ = [*_NAMES, *_CALLED, "__version__"]
__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # First of all: Python itself asks here for each submodule that is imported, and importlib is slow to load.
    if name not in _NAMES and name not in _CALLED:
        raise AttributeError(f"module 'dray' has no attribute {name!r}")
    from importlib import import_module

    if name in _NAMES:
        value = getattr(import_module(f".{_NAMES[name]}", __name__), name)
    else:
        value = getattr(import_module("._handover", __name__), _CALLED[name])()
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
