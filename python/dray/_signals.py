"""SIGTERM and SIGINT in the worker: each reaches the script once, as an exception that lets `finally` run.

A handler that the script sets itself replaces these, as it should. A forked child gets the default action back: it is
not the process that was told to stop in an orderly way.
"""

# What is behind the module `signal`, whose enums take longer to load than the rest of a start.
import _signal as signal  # type: ignore[import-not-found]
import os

TYPE_CHECKING = False  # as in `__init__`: `typing` is slow to load
if TYPE_CHECKING:
    from types import FrameType
    from typing import Optional

TERMINATED_EXIT_CODE = 128 + signal.SIGTERM


def install() -> None:
    """Sets the handlers where Python's own defaults stand; called once, in the main thread."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _terminate)
    # Python leaves SIGINT alone if it was ignored when it started (a background job of a shell).
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)
    os.register_at_fork(after_in_child=_restore_defaults)


def _terminate(signum: int, frame: "Optional[FrameType]") -> None:
    _ignore_repeats()
    raise SystemExit(TERMINATED_EXIT_CODE)


def _interrupt(signum: int, frame: "Optional[FrameType]") -> None:
    _ignore_repeats()
    raise KeyboardInterrupt


def _repeated(signum: int, frame: "Optional[FrameType]") -> None:
    """Does nothing: the script is already on its way out."""


def _ignore_repeats() -> None:
    # A function and not SIG_IGN, which programs started from a `finally` would inherit.
    for signum, own in ((signal.SIGTERM, _terminate), (signal.SIGINT, _interrupt)):
        if signal.getsignal(signum) is own:
            signal.signal(signum, _repeated)


def _restore_defaults() -> None:
    if signal.getsignal(signal.SIGTERM) in (_terminate, _repeated):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) in (_interrupt, _repeated):
        signal.signal(signal.SIGINT, signal.default_int_handler)
