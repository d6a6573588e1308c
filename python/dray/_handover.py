"""What ADF handed over: the activity, its parameters, linked services, datasets, and the Batch task.

Reads activity.json, linkedServices.json and datasets.json of the task folder once, on first use, through the same
code as the supervisor. Every file may be absent: outside ADF all of this is there, and empty.
"""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Callable, Optional, TypeVar

from . import _run
from ._errors import ActivityError
from ._secret import KeyVaultSecret, Secret

_T = TypeVar("_T")


class Parameters(Mapping[str, Any]):
    """The activity's extended properties: `dray.params["name"]`, or `dray.params.name` where the name allows it.

    Values are those of the JSON: str, int, float, bool, None, list, dict; a SecureString is a `dray.Secret`, a Key
    Vault reference a `dray.KeyVaultSecret`, which is fetched when its value is first used, at any depth.
    """

    def __init__(self, values: dict[str, Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> Any:
        try:
            return self._values[name]
        except KeyError:
            raise KeyError(_missing("extended property", name, self._values)) from None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        try:
            return self._values[name]
        except KeyError:
            raise AttributeError(_missing("extended property", name, self._values)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Parameters({self._values!r})"


class Reference(str):
    """The name of a linked service or dataset that the activity references.

    Attributes:
        parameters: what the activity gives the linked service or dataset for its parameters.
    """

    parameters: dict[str, Any]

    def __new__(cls, name: str, parameters: Optional[dict[str, Any]] = None) -> Reference:
        reference = super().__new__(cls, name)
        reference.parameters = parameters or {}
        return reference


class Activity:
    """The custom activity that this run is.

    Attributes:
        name: its name in the pipeline, None outside ADF.
        extended_properties: the same object as `dray.params`.
        linked_service_references: names of the linked services in `referenceObjects`, each with its `parameters`.
        dataset_references: names of the datasets in `referenceObjects`, each with its `parameters`.
        definition: the whole of activity.json as plain values, empty outside ADF.
    """

    def __init__(self, document: dict[str, Any], parameters: Parameters) -> None:
        self.name: Optional[str] = document.get("name")
        self.extended_properties = parameters
        references = document.get("reference_objects", {})
        self.linked_service_references = _references(references.get("linked_services", []))
        self.dataset_references = _references(references.get("datasets", []))
        self.definition: dict[str, Any] = document.get("definition", {})

    def __repr__(self) -> str:
        return f"Activity(name={self.name!r})"


def _references(items: list[dict[str, Any]]) -> list[Reference]:
    return [Reference(item["name"], item["parameters"]) for item in items if item["name"] is not None]


class LinkedService:
    """One linked service that the activity references.

    Attributes:
        name: its name in the factory.
        type: `Odbc`, `AzureSqlDatabase`, …
        properties: its `typeProperties`, secrets as `dray.Secret`.
        definition: all that linkedServices.json says of it.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.name: str = document["name"]
        self.type: Optional[str] = document.get("type")
        self.properties: dict[str, Any] = document.get("type_properties", {})
        self.definition: dict[str, Any] = document.get("definition", {})

    @property
    def connection_string(self) -> Secret:
        """The ODBC connection string, credentials included.

        Raises:
            ActivityError: the type cannot be turned into one, or a credential is not on the node.
        """
        return Secret(connection_string(self.name, only_linked_service=True))

    def __repr__(self) -> str:
        return f"LinkedService(name={self.name!r}, type={self.type!r})"


class Dataset:
    """One dataset that the activity references.

    Attributes:
        name: its name in the factory.
        type: `AzureSqlTable`, `OdbcTable`, …
        linked_service_name: name of its linked service.
        properties: its `typeProperties`: table, schema and the like; an expression that ADF did not evaluate is a dict
            with `type` `Expression`.
        definition: all that datasets.json says of it.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.name: str = document["name"]
        self.type: Optional[str] = document.get("type")
        self.linked_service_name: Optional[str] = document.get("linked_service")
        self.properties: dict[str, Any] = document.get("type_properties", {})
        self.definition: dict[str, Any] = document.get("definition", {})

    @property
    def table(self) -> str:
        """Its table, as `dray.Copy` takes it: `schema.table`, or `table` where the dataset names no schema.

        Raises:
            ActivityError: it names no table, or by an expression that is more than a parameter.
        """
        from . import _native

        return _native.dataset_table(_run.task_folder(), self.name)

    def __repr__(self) -> str:
        return f"Dataset(name={self.name!r}, type={self.type!r})"


class ByName(Mapping[str, _T]):
    """A read-only mapping by name whose KeyError names what there is."""

    def __init__(self, what: str, items: dict[str, _T]) -> None:
        self._what = what
        self._items = items

    def __getitem__(self, name: str) -> _T:
        try:
            return self._items[name]
        except KeyError:
            raise KeyError(_missing(self._what, name, self._items)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __repr__(self) -> str:
        return f"{self._what}s: {list(self._items)}"


class Batch:
    """The Azure Batch task, from the AZ_BATCH_ variables; every attribute is None outside Batch.

    Attributes:
        account_name, account_url, pool_id, node_id, job_id, task_id: str.
        node_is_dedicated: bool, False on a spot node.
        task_dir, task_working_dir, node_root_dir, node_shared_dir, node_startup_dir, node_startup_working_dir,
        node_mounts_dir, job_prep_dir, job_prep_working_dir: `pathlib.Path`.
    """

    account_name: Optional[str]
    account_url: Optional[str]
    pool_id: Optional[str]
    node_id: Optional[str]
    job_id: Optional[str]
    task_id: Optional[str]
    node_is_dedicated: Optional[bool]

    _TEXTS = ("account_name", "account_url", "pool_id", "node_id", "job_id", "task_id")
    _FOLDERS = (
        "task_dir", "task_working_dir", "node_root_dir", "node_shared_dir", "node_startup_dir",
        "node_startup_working_dir", "node_mounts_dir", "job_prep_dir", "job_prep_working_dir",
    )  # fmt: skip

    def __init__(self, environment: Mapping[str, str]) -> None:
        import pathlib

        def get(name: str) -> Optional[str]:
            return environment.get(f"AZ_BATCH_{name.upper()}") or None

        for name in self._TEXTS:
            setattr(self, name, get(name))
        for name in self._FOLDERS:
            folder = get(name)
            setattr(self, name, None if folder is None else pathlib.Path(folder))
        flags = {"true": True, "1": True, "false": False, "0": False}
        self.node_is_dedicated = flags.get((get("node_is_dedicated") or "").lower())

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"dray.batch has no `{name}`; it has {', '.join(self._TEXTS + self._FOLDERS)}")

    def __repr__(self) -> str:
        return f"Batch(pool_id={self.pool_id!r}, job_id={self.job_id!r}, task_id={self.task_id!r})"


def connection_string(name_or_text: str, *, only_linked_service: bool = False) -> str:
    """The ODBC connection string for a name, a URL or a connection string, credentials included.

    Raises:
        ActivityError: there is nothing of that name, a linked service cannot be turned into a connection, or a
            credential is not on the node.
        ConnectError: a malformed text, or one that no driver can follow.
        DriverNotFoundError: no driver for it is on this node.
    """
    from . import _native

    folders = [path for path in sys.path if path]
    return _native.connection_string(_run.task_folder(), name_or_text, folders, only_linked_service)


@functools.cache
def document() -> dict[str, Any]:
    """All three files as one document of Python values, secrets wrapped."""
    return _load(float)


def exact_parameters() -> dict[str, Any]:
    """The extended properties with fractional numbers as `Decimal`, so that a conversion to Decimal loses nothing."""
    import decimal

    activity = _load(decimal.Decimal).get("activity") or {}
    parameters: dict[str, Any] = activity.get("extended_properties", {})
    return parameters


def _load(parse_float: Callable[[str], Any]) -> dict[str, Any]:
    import json

    from . import _native

    try:
        text = _native.handover_json(_run.task_folder())
    except _native.HandoverError as error:
        raise _activity_error(error) from None
    loaded: dict[str, Any] = json.loads(text, object_hook=_wrap_secret, parse_float=parse_float)
    return loaded


def _activity_error(error: Exception) -> ActivityError:
    code, message = error.args
    wrapped = ActivityError(message)
    wrapped.code = code
    return wrapped


def _wrap_secret(value: dict[str, Any]) -> Any:
    marker = value.get("__dray__")
    if marker == "secret":
        return Secret(value["value"])
    if marker == "object":
        plain: dict[str, Any] = value["value"]
        return plain
    if marker == "key_vault_secret":
        return KeyVaultSecret(value.get("store"), value.get("secret_name"), value.get("secret_version"))
    return value


@functools.cache
def parameters() -> Parameters:
    """`dray.params`."""
    activity = document().get("activity") or {}
    return Parameters(activity.get("extended_properties", {}))


@functools.cache
def activity() -> Activity:
    """`dray.activity`."""
    return Activity(document().get("activity") or {}, parameters())


@functools.cache
def linked_services() -> ByName[LinkedService]:
    """`dray.linked_services`."""
    items = [LinkedService(item) for item in document().get("linked_services", []) if item["name"] is not None]
    return ByName("linked service", {item.name: item for item in items})


@functools.cache
def datasets() -> ByName[Dataset]:
    """`dray.datasets`."""
    items = [Dataset(item) for item in document().get("datasets", []) if item["name"] is not None]
    return ByName("dataset", {item.name: item for item in items})


@functools.cache
def batch() -> Batch:
    """`dray.batch`."""
    return Batch(os.environ)


def _missing(what: str, name: str, known: Mapping[str, Any]) -> str:
    import difflib

    there = ", ".join(f"`{item}`" for item in known) or "none"
    near = difflib.get_close_matches(name, list(known), n=1)
    guess = f"; did you mean `{near[0]}`?" if near else ""
    return f"no {what} `{name}`; there are: {there}{guess}"
