"""Python's `logging` and `warnings` in the worker, brought to the log of the run.

Loaded with the first warning, or when the script imports `logging` (`_worker.py` waits for both): most small scripts do
without.

The root logger gets a handler that writes to the log of the run, and the level of the run in place of Python's WARNING.
A script that configures the root logger itself gets what it would get under plain `python`: `basicConfig` with a file,
a stream or handlers adds those, and a handler that it adds brings Python's own level back unless the script has set one
(or a script that prints its warnings would print its debug records as well). Only `basicConfig` without any of these,
which asks for text on stderr, does not add a second writer there: its level counts, its format does not. What removes
the root's handlers (`force=True`, `dictConfig`) removes dray's too.
"""

from __future__ import annotations

import sys

from . import _native, _run

TYPE_CHECKING = False  # as in `__init__`: `typing` is slow to load
if TYPE_CHECKING:
    from typing import Any, Optional

# What every LogRecord has; all else on a record came from the caller's `extra`.
_STANDARD_ATTRIBUTES = frozenset(
    {
        *(
            "args",
            "created",
            "exc_info",
            "exc_text",
            "filename",
            "funcName",
            "levelname",
            "levelno",
            "lineno",
            "message",
        ),
        *("module", "msecs", "msg", "name", "pathname", "process", "processName", "relativeCreated", "stack_info"),
        *("taskName", "thread", "threadName"),
    }
)


def configure(logging: Any, level: int) -> None:
    """Sets up the module `logging`, just imported; `level` is the root logger's, a number."""
    root = logging.getLogger()
    handler = _make_handler(logging)
    root.addHandler(handler)
    root.setLevel(level)
    root.__class__ = _make_root_class(logging, handler)
    logging.basicConfig = _make_basic_config(logging, root, handler)


def _make_handler(logging: Any) -> Any:
    class RunHandler(logging.Handler):  # type: ignore[misc]
        """Writes each record to the log of the run."""

        def emit(self, record: Any) -> None:
            try:
                _emit(record)
            except RecursionError:
                raise
            except Exception:
                self.handleError(record)

    return RunHandler()


def _make_root_class(logging: Any, own: Any) -> type:
    class RootLogger(logging.RootLogger):  # type: ignore[misc]
        """The root logger, which gives dray's level up once the script configures it."""

        _level_is_ours = True

        def setLevel(self, level: Any) -> None:  # noqa: N802
            self._level_is_ours = False
            super().setLevel(level)

        def addHandler(self, hdlr: Any) -> None:  # noqa: N802
            if self._level_is_ours and hdlr is not own:
                self.setLevel(logging.WARNING)
            super().addHandler(hdlr)

    return RootLogger


def _make_basic_config(logging: Any, root: Any, own: Any) -> Any:
    original = logging.basicConfig

    def basic_config(**options: Any) -> None:
        # Under plain `python` the root logger has no handler now; where it has others, there is nothing to be done.
        if root.handlers != [own] or options.get("force"):
            original(**options)
            return
        asks_for_stderr = (
            options.get("filename") is None
            and options.get("handlers") is None
            and options.get("stream") in (None, sys.stderr, sys.__stderr__)
        )
        level_was, ours = root.level, root._level_is_ours
        root.handlers.remove(own)
        try:
            original(**options)
            if asks_for_stderr:
                # A second call does nothing under plain `python`, and so it must here.
                added = root.handlers[:]
                for handler in added:
                    root.removeHandler(handler)
                root.addHandler(logging.NullHandler())
                if options.get("level") is None:
                    # Plain `python` would show WARNING and up there; the log of the run goes by the level of the run.
                    root.setLevel(level_was)
                    root._level_is_ours = ours
        finally:
            root.handlers.insert(0, own)

    import functools

    return functools.update_wrapper(basic_config, original)


def _emit(record: Any) -> None:
    exception: Optional[str] = None
    if record.exc_info and record.exc_info[0] is not None:
        from . import _failure

        exception = _failure.format_exception(record.exc_info[1])
    elif record.exc_text:
        exception = record.exc_text
    extra = {name: value for name, value in vars(record).items() if name not in _STANDARD_ATTRIBUTES}
    if record.stack_info:
        extra["stack"] = record.stack_info
    _log(record.levelno, record.name, record.getMessage(), "", extra, exception)


def _log(level: int, logger: str, message: str, event: str, extra: dict[Any, Any], exception: Optional[str]) -> None:
    fields = _json_object(extra) if extra else None
    exception = None if exception is None else _run.as_unicode(exception)
    _native.log(level, _run.as_unicode(logger), _run.as_unicode(message), event, fields, exception)


def _json_object(extra: dict[Any, Any]) -> str:
    """`extra` as JSON; a value that JSON does not take (NaN, a cycle, a lone surrogate) by its repr."""
    try:
        return _strict_json(extra)
    except (ValueError, RecursionError):
        return _strict_json({_run.as_unicode(str(name)): _plain(value) for name, value in extra.items()})


def _plain(value: Any) -> Any:
    try:
        _strict_json(value)
    except (ValueError, RecursionError):
        return _run.as_unicode(value if isinstance(value, str) else repr(value))
    return value


def _strict_json(value: Any) -> str:
    import json

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, default=str, skipkeys=True)
    text.encode()
    return text


def show_warning(
    message: Any, category: type, filename: str, lineno: int, file: Any = None, line: Optional[str] = None
) -> None:
    if file is not None:
        import warnings

        file.write(warnings.formatwarning(message, category, filename, lineno, line))
        return
    extra = {"category": category.__name__, "file": filename, "line": lineno}
    _log(30, "py.warnings", str(message), "python.warning", extra, None)
