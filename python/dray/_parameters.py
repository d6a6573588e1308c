"""Turns the activity's parameters and `--name value` arguments into the keyword arguments of a function.

Pure: knows signatures and annotations, nothing of the run. All that is wrong is reported together, so that a pipeline
is mended once.
"""

from __future__ import annotations

import collections.abc
import datetime
import decimal
import enum
import functools
import inspect
import json
import pathlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Optional, Union

from ._errors import ParametersError
from ._secret import KeyVaultSecret, Secret

_UNIONS: tuple[Any, ...] = (Union, getattr(types, "UnionType", Union))
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}


def keyword_arguments(
    function: Callable[..., Any], properties: Mapping[str, Any], arguments: Sequence[str]
) -> dict[str, Any]:
    """The keyword arguments to call `function` with.

    Args:
        function: the entrypoint; its annotations say what each value becomes.
        properties: the activity's extended properties.
        arguments: `--name value`, `--name=value`, or `--name` alone for a bool; they win over `properties`, a name
            given several times is a list, and `-` in a name stands for `_`.

    Raises:
        ParametersError: names every parameter that is missing, unknown or cannot be converted.
    """
    problems: list[str] = []
    given: dict[str, Any] = dict(properties)
    given.update(_parse(arguments, problems))
    signature = inspect.signature(function)
    annotations = _annotations(function)
    takes_any: Optional[str] = None
    result: dict[str, Any] = {}
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_any = name
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        if parameter.kind is parameter.POSITIONAL_ONLY:
            problems.append(f"`{name}` is positional-only and cannot be given by name")
            given.pop(name, None)
            continue
        if name not in given:
            if parameter.default is parameter.empty:
                problems.append(f"`{name}` is missing")
            continue
        _put(result, name, given.pop(name), annotations.get(name, Any), problems)
    if takes_any:
        for name, value in given.items():
            _put(result, name, value, annotations.get(takes_any, Any), problems)
    else:
        known = [name for name, each in signature.parameters.items() if each.kind is not each.VAR_POSITIONAL]
        problems.extend(f"`{name}` is unknown{_nearest(name, known)}" for name in given)
    if problems:
        name = getattr(function, "__qualname__", repr(function))
        raise ParametersError(f"parameters of `{name}`: {'; '.join(problems)}")
    return result


class _Unconvertible(ValueError):
    """Why a value does not fit; never holds the value, which may be a secret."""


def _put(result: dict[str, Any], name: str, value: Any, hint: Any, problems: list[str]) -> None:
    try:
        result[name] = convert(value, hint)
    except _Unconvertible as why:
        problems.append(f"`{name}` {why}")


class _Unknown:
    """The annotation of a parameter that could not be evaluated."""

    def __init__(self, text: str, why: str) -> None:
        self.text = text
        self.why = why


def _annotations(function: Callable[..., Any]) -> dict[str, Any]:
    """The annotations of a function, of a class's `__init__` or of an object's `__call__`, evaluated."""
    while isinstance(function, functools.partial):
        function = function.func
    target: Any = function
    if isinstance(function, type):
        target = function.__init__  # type: ignore[misc]
    elif not inspect.isroutine(function):
        target = type(function).__call__
    target = inspect.unwrap(target)
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:
        # One of them cannot be evaluated: a name that is there for the type checker alone, or `int | None` under 3.9.
        found = dict(getattr(target, "__annotations__", {}))
        names = getattr(target, "__globals__", {})
        return {name: _evaluated(hint, names) for name, hint in found.items()}


def _evaluated(hint: Any, names: dict[str, Any]) -> Any:
    if not isinstance(hint, str):
        return hint

    def holder() -> None: ...

    holder.__annotations__ = {"hint": hint}
    try:
        return typing.get_type_hints(holder, names, include_extras=True)["hint"]
    except Exception as error:
        return _Unknown(hint, f"{type(error).__name__}: {error}")


def _nearest(name: str, known: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean `{near[0]}`?)" if near else ""


def _parse(arguments: Sequence[str], problems: list[str]) -> dict[str, Any]:
    parsed: dict[str, Any] = {}
    index = 0
    while index < len(arguments):
        argument = arguments[index]
        index += 1
        if not argument.startswith("--") or argument == "--":
            problems.append(f"argument {index} is not of the form `--name value`")
            continue
        name, equals, value = argument[2:].partition("=")
        name = name.replace("-", "_")
        item: Any = value
        if not equals:
            if index < len(arguments) and not arguments[index].startswith("--"):
                item = arguments[index]
                index += 1
            else:
                item = _Flag()
        if name not in parsed:
            parsed[name] = item
            continue
        if not isinstance(parsed[name], _Repeated):
            parsed[name] = _Repeated([parsed[name]])
        parsed[name].append(item)
    return parsed


class _Flag:
    """`--name` with no value behind it."""


class _Repeated(list[Any]):
    """A name that was given more than once."""


def convert(value: Any, hint: Any) -> Any:
    """`value` as the annotation `hint` wants it.

    Raises:
        ValueError: it does not fit; the text says what was wanted and never holds the value.
    """
    if isinstance(value, _Flag):
        if hint in (Any, bool, Optional[bool], object):
            return True
        raise _Unconvertible(f"has no value, {_describe(hint)} is wanted")
    if isinstance(hint, _Unknown):
        raise _Unconvertible(f"is annotated with `{hint.text}`, which cannot be evaluated ({hint.why})")
    while hasattr(hint, "__supertype__"):  # typing.NewType
        hint = hint.__supertype__
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return convert(value, typing.get_args(hint)[0])
    if hint in (Any, object, inspect.Parameter.empty):
        return _plain(value)
    if origin in _UNIONS:
        return _convert_union(value, typing.get_args(hint))
    if origin is typing.Literal:
        return _convert_literal(value, typing.get_args(hint))
    if isinstance(value, KeyVaultSecret):
        if hint is KeyVaultSecret:
            return value
        value = value.value
    return _convert_class(value, hint, origin)


def _plain(value: Any) -> Any:
    """Untouched but for the exact numbers that the parameters were read with."""
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _convert_union(value: Any, options: tuple[Any, ...]) -> Any:
    if value is None and type(None) in options:
        return None
    options = tuple(option for option in options if option is not type(None))
    # An exact match first: `Union[int, str]` keeps "12" a str.
    for option in options:
        if isinstance(option, type) and type(value) is option:
            return value
    for option in options:
        try:
            return convert(value, option)
        except _Unconvertible:
            if len(options) == 1:
                raise
    raise _Unconvertible(f"fits none of {', '.join(_describe(option) for option in options)}")


def _convert_literal(value: Any, options: tuple[Any, ...]) -> Any:
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    for option in options:
        try:
            if convert(value, type(option)) == option:
                return option
        except _Unconvertible:
            continue
    raise _Unconvertible(f"must be one of {', '.join(repr(option) for option in options)}")


def _convert_class(value: Any, hint: Any, origin: Any) -> Any:
    if hint is type(None):
        if value is None:
            return None
        raise _Unconvertible("must be null")
    if value is None:
        raise _Unconvertible(f"is null, {_describe(hint)} is wanted")
    kind = origin or hint
    if isinstance(kind, type):
        if issubclass(kind, enum.Enum):
            return _convert_enum(value, kind)
        converter = _SCALARS.get(kind)
        if converter is not None:
            return converter(value)
        if issubclass(kind, pathlib.PurePath):
            return kind(_text(value, "a path"))
        if kind in _LISTS:
            return _convert_list(value, kind, typing.get_args(hint))
        if kind in _MAPPINGS:
            return _convert_mapping(value, typing.get_args(hint))
        if _is_instance(value, kind):
            return value
    raise _Unconvertible(f"is annotated with {_describe(hint)}, which cannot be made from a parameter")


def _is_instance(value: Any, kind: type) -> bool:
    try:
        return isinstance(value, kind)
    except TypeError:
        # A TypedDict, and a Protocol that is not checked at run time.
        return False


def _convert_enum(value: Any, kind: type[enum.Enum]) -> enum.Enum:
    for member in kind:
        if value == member.name or (type(value) is type(member.value) and value == member.value):
            return member
    for member in kind:
        try:
            if convert(value, type(member.value)) == member.value:
                return member
        except _Unconvertible:
            continue
    raise _Unconvertible(f"must be one of {', '.join(member.name for member in kind)}")


def _convert_list(value: Any, kind: Any, arguments: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        value = _json(value, list, "a JSON array, or the argument several times") if value[:1] == "[" else [value]
    if not isinstance(value, list):
        raise _Unconvertible("must be a JSON array, or the argument several times")
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if len(arguments) != len(value):
            raise _Unconvertible(f"has {len(value)} items, {len(arguments)} are wanted")
        return tuple(_item(item, hint, index) for index, (item, hint) in enumerate(zip(value, arguments)))
    hint = arguments[0] if arguments else Any
    items = [_item(item, hint, index) for index, item in enumerate(value)]
    return kind(items) if kind in (tuple, set, frozenset) else items


def _item(item: Any, hint: Any, index: int) -> Any:
    try:
        return convert(item, hint)
    except _Unconvertible as why:
        raise _Unconvertible(f"item {index} {why}") from None


def _convert_mapping(value: Any, arguments: tuple[Any, ...]) -> Any:
    if isinstance(value, str):
        value = _json(value, dict, "a JSON object")
    if not isinstance(value, dict):
        raise _Unconvertible("must be a JSON object")
    key_hint, hint = arguments if len(arguments) == 2 else (Any, Any)
    result = {}
    for key, item in value.items():
        try:
            result[convert(key, key_hint)] = convert(item, hint)
        except _Unconvertible as why:
            raise _Unconvertible(f"key `{key}` {why}") from None
    return result


def _json(text: str, kind: type, wanted: str) -> Any:
    try:
        value = json.loads(text, parse_float=decimal.Decimal)
    except ValueError:
        value = None
    if not isinstance(value, kind):
        raise _Unconvertible(f"must be {wanted}")
    return value


def _text(value: Any, wanted: str) -> str:
    if isinstance(value, str):
        return value
    raise _Unconvertible(f"must be {wanted}, not {_json_kind(value)}")


def _to_str(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, decimal.Decimal)):
        return str(value)
    raise _Unconvertible(f"must be text, not {_json_kind(value)}")


def _to_int(value: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, decimal.Decimal) and value == value.to_integral_value():
        return int(value)
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            pass
    raise _Unconvertible(f"must be an int, not {_json_kind(value)}")


def _to_float(value: Any) -> float:
    if isinstance(value, (int, float, decimal.Decimal)) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        try:
            return float(value.strip())
        except ValueError:
            pass
    raise _Unconvertible(f"must be a float, not {_json_kind(value)}")


def _to_decimal(value: Any) -> decimal.Decimal:
    if isinstance(value, (int, decimal.Decimal)) and not isinstance(value, bool):
        return decimal.Decimal(value)
    if isinstance(value, str):
        try:
            return decimal.Decimal(value.strip())
        except decimal.InvalidOperation:
            pass
    raise _Unconvertible(f"must be a decimal number, not {_json_kind(value)}")


def _to_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower() if isinstance(value, (str, int)) else ""
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise _Unconvertible(f"must be true or false, not {_json_kind(value)}")


def _to_datetime(value: Any) -> datetime.datetime:
    text = _text(value, "a date and time such as 2026-11-21T08:30:00Z").strip()
    try:
        return datetime.datetime.fromisoformat(_iso_as_python_3_9_reads_it(text))
    except ValueError:
        raise _Unconvertible("must be a date and time such as 2026-11-21T08:30:00Z") from None


def _iso_as_python_3_9_reads_it(text: str) -> str:
    """`Z` as an offset, and fractions of exactly six digits.

    ADF's `@pipeline().TriggerTime` has seven; a datetime cannot hold the last, cut off as by Python 3.11.
    """
    if text[-1:] in ("Z", "z"):
        text = text[:-1] + "+00:00"
    head, dot, rest = text.partition(".")
    if dot:
        digits = len(rest) - len(rest.lstrip("0123456789"))
        fraction, offset = rest[:digits], rest[digits:]
        text = f"{head}.{fraction[:6]:0<6}{offset}"
    return text


def _to_date(value: Any) -> datetime.date:
    text = _text(value, "a date such as 2026-11-21").strip()
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise _Unconvertible("must be a date such as 2026-11-21") from None


def _to_time(value: Any) -> datetime.time:
    text = _text(value, "a time such as 08:30:00").strip()
    try:
        return datetime.time.fromisoformat(text)
    except ValueError:
        raise _Unconvertible("must be a time such as 08:30:00") from None


def _to_secret(value: Any) -> Secret:
    return Secret(_to_str(value))


_SCALARS: dict[type, Callable[[Any], Any]] = {
    str: _to_str,
    int: _to_int,
    float: _to_float,
    bool: _to_bool,
    decimal.Decimal: _to_decimal,
    datetime.datetime: _to_datetime,
    datetime.date: _to_date,
    datetime.time: _to_time,
    Secret: _to_secret,
}
_LISTS: tuple[Any, ...] = (
    list, tuple, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection,
)  # fmt: skip
_MAPPINGS: tuple[Any, ...] = (dict, collections.abc.Mapping, collections.abc.MutableMapping)


def _json_kind(value: Any) -> str:
    if isinstance(value, bool):
        return "a bool"
    if isinstance(value, (int, float, decimal.Decimal)):
        return "a number"
    if isinstance(value, str):
        return "this text"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    return type(value).__name__


def _describe(hint: Any) -> str:
    return hint.__qualname__ if isinstance(hint, type) else str(hint).replace("typing.", "")
