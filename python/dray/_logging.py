"""Python's `logging` and `warnings` in the worker, brought to the log of the run.

Start-up counts: `logging` takes longer to import than all of dray, so it is set up when the script imports it, and a
script that does not never pays for it.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, Optional

from . import _native

# What every LogRecord has; all else on a record came from the caller's `extra`.
_STANDARD_ATTRIBUTES = frozenset(
    "args asctime created exc_info exc_text filename funcName levelname levelno lineno message module msecs msg name "
    "pathname process processName relativeCreated stack_info taskName thread threadName".split()
)


def install(level: int) -> None:
    """Routes `warnings` now, and `logging` now or as soon as it is imported; `level` is the root logger's, a number."""
    import warnings

    warnings.showwarning = _show_warning  # type: ignore[assignment]
    logging = sys.modules.get("logging")
    if logging is not None:
        _configure(logging, level)
    else:
        sys.meta_path.insert(0, _LoggingFinder(level))


class _LoggingFinder:
    """Waits on `sys.meta_path` for the import of `logging`, configures it, and is gone."""

    def __init__(self, level: int) -> None:
        self._level = level

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != "logging":
            return None
        sys.meta_path.remove(self)  # type: ignore[arg-type]
        from importlib.machinery import PathFinder

        spec = PathFinder.find_spec(name, path, target)
        loader: Any = spec.loader if spec is not None else None
        if loader is None:
            return spec
        execute = loader.exec_module

        def execute_and_configure(module: ModuleType) -> None:
            execute(module)
            _configure(module, self._level)

        loader.exec_module = execute_and_configure
        return spec


def _configure(logging: Any, level: int) -> None:
    class RunHandler(logging.Handler):  # type: ignore[misc]
        """Writes each record to the log of the run."""

        def emit(self, record: Any) -> None:
            try:
                _emit(record, self)
            except RecursionError:
                raise
            except Exception:
                self.handleError(record)

    root = logging.getLogger()
    root.addHandler(RunHandler())
    root.setLevel(level)


def _emit(record: Any, handler: Any) -> None:
    exception: Optional[str] = None
    if record.exc_info and record.exc_info[0] is not None:
        from . import _failure

        exception = _failure.format_exception(record.exc_info[1])
    elif record.exc_text:
        exception = record.exc_text
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
    if record.stack_info:
        extra["stack"] = record.stack_info
    fields: Optional[str] = None
    if extra:
        import json

        fields = json.dumps(extra, default=str, skipkeys=True)
    _native.log(record.levelno, record.name, record.getMessage(), "", fields, exception)


def _show_warning(
    message: Any, category: type, filename: str, lineno: int, file: Any = None, line: Optional[str] = None
) -> None:
    if file is not None:
        import warnings

        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    import json

    fields = json.dumps({"category": category.__name__, "file": filename, "line": lineno})
    _native.log(30, "py.warnings", str(message), "python.warning", fields, None)
