"""`dray.outputs`: what the activity gives back to ADF.

Values become plain JSON values when they are set, so that one that outputs.json cannot hold is refused on the line that
set it. The supervisor writes the file; this module only tells it, value by value, so that what was set is not lost when
the process dies.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, MutableMapping
from typing import Any, Optional

from . import _run
from ._errors import OutputsError

_DEPTH_LIMIT = 200


class Outputs(MutableMapping[str, Any]):
    """A mapping of names to JSON values, settled into outputs.json at the end of the run.

    Taken as values: None, bool, int, float, str, lists, tuples, sets (sorted where they can be) and mappings of these;
    dates, times and datetimes (ISO 8601), `Decimal` and `UUID` (text), `Path` (text), `Enum` (its value), dataclasses
    (a mapping), NumPy and pandas scalars and arrays (as the plain value; NaT and `pandas.NA` as None).

    Refused with `dray.OutputsError`, which names the path of the value: NaN and infinity, bytes, cycles, keys that are
    not strings, and anything else.

    A list or mapping that was set is copied; what is read back (`dray.outputs["a"]`) is that copy, and a change of it
    counts. Outside of `dray run` the mapping works, and nothing is written.

    Child processes (multiprocessing, fork, `subprocess` with this interpreter) may set outputs of the run too. Each
    process has a mapping of its own and does not see what the others set; of one key, what was set last counts. A
    change in place of a value that was set before counts in the script's own process alone.
    """

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._told: dict[str, str] = {}

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._values[_checked_key(key, "outputs")] = _json_value(value, f"outputs[{key!r}]", ())
        self._tell([key])

    def __delitem__(self, key: str) -> None:
        del self._values[key]
        self._told.pop(key, None)
        _run.record({"event": "outputs", "set": {}, "removed": [key]})

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Outputs({self._values!r})"

    def _settle(self) -> None:
        """Checks all values again and tells those that were changed in place since they were set."""
        for key, value in self._values.items():
            self._values[key] = _json_value(value, f"outputs[{key!r}]", ())
        self._tell(list(self._values))

    def _tell(self, keys: list[str]) -> None:
        if _run.FOLDER is None:
            return
        import json

        for key in keys:
            text = json.dumps(self._values[key], ensure_ascii=True, allow_nan=False, separators=(",", ":"))
            if self._told.get(key) != text:
                line = f'{{"event":"outputs","set":{{{json.dumps(key)}:{text}}},"removed":[]}}\n'
                _run.append(line.encode())
                self._told[key] = text


def _checked_key(key: Any, path: str) -> str:
    if not isinstance(key, str):
        raise OutputsError(f"{path}: keys must be str, not {type(key).__name__}")
    return _json_text(str(key), f"{path}: the key {key!r}")


def _refuse(path: str, why: str) -> OutputsError:
    return OutputsError(f"{path} {why}")


def _json_value(value: Any, path: str, above: tuple[int, ...]) -> Any:
    """The plain JSON value of `value`, or an OutputsError that names `path`."""
    if value is None or value is True or value is False:
        return value
    kind = type(value)
    if isinstance(value, str):
        return _json_text(value, path)
    if isinstance(value, int):
        return _enum_value(value, path, above) if _is_enum(value) else int(value)
    if isinstance(value, float):
        # pandas.NaT is no float; NumPy's float64 is one.
        number = float(value)
        if number != number or number in (float("inf"), float("-inf")):
            raise _refuse(path, f"is {number!r}, which JSON cannot hold")
        return number
    if id(value) in above:
        raise _refuse(path, "contains itself")
    if len(above) >= _DEPTH_LIMIT:
        raise _refuse(path, f"is nested more than {_DEPTH_LIMIT} levels deep")
    inside = (*above, id(value))
    if isinstance(value, Mapping):
        return {_checked_key(key, path): _json_value(item, f"{path}[{key!r}]", inside) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_value(item, f"{path}[{index}]", inside) for index, item in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        try:
            items = sorted(value)
        except TypeError:
            items = list(value)
        return [_json_value(item, f"{path}[{index}]", inside) for index, item in enumerate(items)]
    if _is_enum(value):
        return _enum_value(value, path, above)
    return _known_class(value, kind, path, inside)


def _json_text(value: str, path: str) -> str:
    text = str.__str__(getattr(value, "value", value) if _is_enum(value) else value)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise _refuse(path, "holds a lone surrogate, which is not text") from None
    return text


def _is_enum(value: Any) -> bool:
    import enum

    return isinstance(value, enum.Enum)


def _enum_value(value: Any, path: str, above: tuple[int, ...]) -> Any:
    return _json_value(value.value, path, above)


def _known_class(value: Any, kind: type, path: str, inside: tuple[int, ...]) -> Any:
    import dataclasses
    import datetime
    import decimal
    import uuid

    # Before the dates: pandas.NaT answers isinstance(…, datetime) and has an isoformat of its own.
    scalar = _scalar_of_numpy_or_pandas(value, kind, path)
    if scalar is not None:
        return _json_value(scalar[0], path, inside)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise _refuse(path, f"is Decimal('{value}'), which JSON cannot hold")
        return str(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, os.PathLike):
        return _json_text(os.fsdecode(value), path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _json_value(getattr(value, field.name), f"{path}.{field.name}", inside)
            for field in dataclasses.fields(value)
        }
    raise _refuse(path, f"is of type {kind.__module__}.{kind.__qualname__}, which has no JSON form")


def _scalar_of_numpy_or_pandas(value: Any, kind: type, path: str) -> Optional[tuple[Any]]:
    """The plain value behind a NumPy or pandas object, told by its class so that neither has to be imported."""
    package = kind.__module__.partition(".")[0]
    if package == "pandas":
        if kind.__name__ in ("NaTType", "NAType"):
            return (None,)
        if hasattr(value, "isoformat"):
            return (value.isoformat(),)
        if hasattr(value, "tolist"):
            return (value.tolist(),)
    if package == "numpy":
        if kind.__name__ in ("datetime64", "timedelta64"):
            if str(value) == "NaT":
                return (None,)
            if kind.__name__ == "datetime64":
                return (str(value),)
            raise _refuse(path, "is a numpy.timedelta64, which has no JSON form")
        if hasattr(value, "tolist"):
            plain = value.tolist()
            if type(plain) is not kind:
                return (plain,)
    return None


outputs = Outputs()
