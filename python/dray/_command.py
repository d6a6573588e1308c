"""What the built-in entrypoints have in common: how they say what was asked for, and how they end."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from . import _native, _run


def say(text: str) -> None:
    """Prints what was asked for, with secrets masked."""
    try:
        print(_native.redact(text), flush=True)
    except BrokenPipeError:
        # A reader that has seen enough (`| head`) is no failure; nor is what Python would still have to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def fail(code: str, exit_code: int, message: str) -> NoReturn:
    """Ends the process; the supervisor says the message."""
    _run.record({
        "event": "error", "kind": "copy_failed", "code": code, "type": None, "message": message, "traceback": None,
        "location": None, "exit_code": exit_code,
    })  # fmt: skip
    raise SystemExit(exit_code)
