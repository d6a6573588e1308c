"""Classes a failure of the script, and describes it without dray's own frames."""

from __future__ import annotations

import os
import sys
from types import CodeType, TracebackType
from typing import Any, Optional

from . import _run

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
_MESSAGE_LIMIT = 4000


def is_own(code: CodeType) -> bool:
    """Whether `code` is dray's own."""
    return code.co_filename.startswith(_PACKAGE)


def trimmed(traceback: Optional[TracebackType]) -> Optional[TracebackType]:
    """`traceback` from the first frame of the script to its last: dray's frames before and after it are cut off.

    None if there is no frame of the script.
    """
    # What stands above the script: the `-c` line that starts the worker, this package, and runpy for `-m`.
    while traceback is not None and _is_above(traceback.tb_frame.f_code):
        traceback = traceback.tb_next
    if traceback is None:
        return None
    last, frame = traceback, traceback
    while frame.tb_next is not None:
        frame = frame.tb_next
        if not is_own(frame.tb_frame.f_code):
            last = frame
    last.tb_next = None
    return traceback


def _is_above(code: CodeType) -> bool:
    return (
        is_own(code)
        or code.co_filename == "<string>"
        or code.co_filename == "<frozen runpy>"
        or code.co_filename.endswith(os.sep + "runpy.py")
        # `importlib.import_module` of the entrypoint, and the machinery behind it.
        or code.co_filename.startswith("<frozen importlib")
        or code.co_filename.endswith(os.sep + os.path.join("importlib", "__init__.py"))
    )


def format_exception(error: Optional[BaseException]) -> str:
    """The traceback as `logging` would print it, of the script's frames alone; `error` keeps all of its own."""
    import traceback

    if error is None:
        return ""
    lines = traceback.format_exception(type(error), error, trimmed(error.__traceback__))
    return "".join(lines).rstrip("\n")


def prepare(error: BaseException) -> None:
    """Leaves `error` as plain `python` would have it at its end: no frames of dray's, known to `sys`."""
    error.__traceback__ = trimmed(error.__traceback__)
    # What `PyErr_Print` sets; exit handlers look at it to tell whether the script failed.
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    if sys.version_info >= (3, 12):
        sys.last_exc = error


def call_excepthook(error: BaseException) -> None:
    """Calls `sys.excepthook`, and prints what it lets pass as plain `python` does. A SystemExit passes."""
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit:
        raise
    except BaseException as broken:
        print("Error in sys.excepthook:", file=sys.stderr)
        broken.__traceback__ = trimmed(broken.__traceback__)
        sys.__excepthook__(type(broken), broken, broken.__traceback__)
        print("\nOriginal exception was:", file=sys.stderr)
        sys.__excepthook__(type(error), error, error.__traceback__)


def _as_python_prints_it(error: BaseException) -> str:
    """What plain `python` would print of a prepared `error` at its end.

    Unlike the module `traceback`, it knows before 3.12 to which name a misspelt one is near.
    """
    stderr, capture = sys.stderr, _Capture(sys.stderr)
    sys.stderr = capture
    try:
        sys.__excepthook__(type(error), error, error.__traceback__)
    finally:
        sys.stderr = stderr
    return "".join(capture.lines).rstrip("\n")


class _Capture:
    """Collects what this thread writes to stderr; what other threads write passes."""

    def __init__(self, stream: Any) -> None:
        import _thread

        self.lines: list[str] = []
        self._stream = stream
        self._get_ident = _thread.get_ident
        self._thread = _thread.get_ident()

    def write(self, text: str) -> int:
        if self._get_ident() != self._thread:
            return int(self._stream.write(text))
        self.lines.append(text)
        return len(text)

    def flush(self) -> None:
        if self._get_ident() != self._thread:
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def location(error: BaseException) -> Optional[str]:
    """Where in the script it happened: `main.py, line 12, in load`; None if no frame of the script is known.

    The innermost frame of a file of the project; if there is none, the innermost frame.
    """
    if isinstance(error, SyntaxError) and error.filename:
        where = _relative(error.filename)
        return f"{where}, line {error.lineno}" if error.lineno else where
    best: Optional[str] = None
    fallback: Optional[str] = None
    frame = trimmed(error.__traceback__)
    while frame is not None:
        code = frame.tb_frame.f_code
        text = f"{_relative(code.co_filename)}, line {frame.tb_lineno}, in {code.co_name}"
        fallback = text
        if not os.path.isabs(_relative(code.co_filename)) and not code.co_filename.startswith("<"):
            best = text
        frame = frame.tb_next
    return best or fallback


def _relative(path: str) -> str:
    """`path` within the working directory that the script started in, else as it is."""
    root = _run.working_folder
    if root is None or not path.startswith(root + os.sep):
        return path
    return path[len(root) + 1 :]


def describe(error: BaseException, phase: str) -> dict[str, Any]:
    """The `error` event of an exception that the script let pass: class, message, traceback, place, exit code.

    The exception is left as `prepare` leaves it.
    """
    prepare(error)
    try:
        return _describe(error, phase)
    except Exception as broken:
        # A class may be made so that it cannot be looked at: what is known for sure must not be lost with the rest.
        return {
            "event": "error",
            "kind": "raised",
            "code": "script.raised",
            "type": type(error).__name__,
            "message": f"<looking at the exception raised {type(broken).__name__}>",
            "traceback": None,
            "location": None,
            "exit_code": 1,
        }


def _describe(error: BaseException, phase: str) -> dict[str, Any]:
    from . import _native  # here, since a script that ends itself by `sys.exit(3)` has no need of it

    kind, code = _class_of(error, phase)
    exit_code = 130 if isinstance(error, KeyboardInterrupt) else 1
    own = getattr(error, "exit_code", None)
    if type(error).__module__.partition(".")[0] == "dray" and isinstance(own, int):
        exit_code = own
        code = getattr(error, "code", code)
    return {
        "event": "error",
        "kind": kind,
        "code": code,
        "type": _type_name(type(error)),
        # Masked here already: the supervisor knows the secrets that ADF handed over, but not those of a connection
        # string in the script, whose line stands in the traceback.
        "message": _native.redact(_run.as_unicode(message(error))),
        "traceback": _native.redact(_run.as_unicode(_as_python_prints_it(error))),
        "location": location(error),
        "exit_code": exit_code,
    }


def message(error: BaseException) -> str:
    """The exception's text, on one line where it was one, bounded."""
    try:
        if isinstance(error, KeyError) and len(error.args) == 1:
            # str(KeyError("x")) is the repr of its argument, which spoils our own sentences.
            text = error.args[0] if isinstance(error.args[0], str) and " " in error.args[0] else str(error)
        else:
            text = str(error)
    except Exception as broken:
        text = f"<str() of the exception raised {type(broken).__name__}>"
    return text if len(text) <= _MESSAGE_LIMIT else text[:_MESSAGE_LIMIT] + " …"


def _type_name(kind: type) -> str:
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    # `dray.CopyError`, not the private module that it is written in.
    module = "dray" if kind.__module__.startswith("dray.") else kind.__module__
    return f"{module}.{kind.__qualname__}"


def _class_of(error: BaseException, phase: str) -> tuple[str, str]:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", "script.interrupted"
    if isinstance(error, SyntaxError) and _is_of_a_file(error):
        return "syntax", "script.syntax_error"
    if isinstance(error, ModuleNotFoundError) and error.name:
        return "missing_package", "script.missing_package"
    if phase == "importing" or _while_importing(error):
        return "import", "script.import_failed"
    return "raised", "script.raised"


def _is_of_a_file(error: SyntaxError) -> bool:
    """Whether a module could not be compiled, rather than text that the script itself gave to `compile` or `eval`."""
    return bool(error.filename) and os.path.isfile(str(error.filename))


def _while_importing(error: BaseException) -> bool:
    """Whether a module's top level stands below the entrypoint's; Python takes importlib's own frames out."""
    frame = trimmed(error.__traceback__)
    frame = frame.tb_next if frame is not None else None
    while frame is not None:
        if frame.tb_frame.f_code.co_name == "<module>":
            return True
        frame = frame.tb_next
    return False
