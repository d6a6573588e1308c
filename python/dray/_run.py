"""The run that this process belongs to, if `dray run` started it or one of its parents.

Owns the run folder as Python sees it: where it is, and the events that go from here to the supervisor. An event is one
JSON object on a line of its own, appended with a single write, so that the worker and its children can all write and a
crash loses at most the line that it interrupted.
"""

import os
import sys

TYPE_CHECKING = False  # as in `__init__`: `typing` is slow to load
if TYPE_CHECKING:
    from typing import Any, Optional

FOLDER: "Optional[str]" = os.environ.get("DRAY_RUN") or None
"""The run folder, None outside a run. Children inherit it through the environment."""

working_folder: "Optional[str]" = None
"""Where the worker started, the root of the project; None in every other process."""

phase: "Optional[str]" = None
"""What the worker does now, empty until it has begun with the entrypoint; None in every process but the worker and its
forks. The native module starts the log of the run, in this phase, where it is loaded in such a process."""


def set_phase(name: str) -> None:
    """Names the phase that every log record carries from now on."""
    global phase
    phase = name
    # Loading it takes as long as all else of dray in a start, and most small scripts need nothing of it.
    native = sys.modules.get("dray._native")
    if native is not None:
        native.set_phase(name)


def task_folder() -> str:
    """The folder that activity.json, its companions and outputs.json belong to."""
    return os.environ.get("DRAY_TASK_FOLDER") or os.environ.get("AZ_BATCH_TASK_WORKING_DIR") or os.getcwd()


def as_unicode(text: str) -> str:
    """`text` with lone surrogates escaped, as Python prints them on stderr.

    They stand for the bytes of a file name that is not UTF-8, and neither Rust nor its reader of JSON takes them.
    """
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def record(event: "dict[str, Any]") -> None:
    """Appends `event` to the run's events; does nothing outside a run.

    Values must be such as `json` can write; lone surrogates in a text are escaped.

    Raises:
        OSError: the run folder cannot be written, most likely because the disk is full.
    """
    if FOLDER is None:
        return
    import json

    event = {name: as_unicode(value) if isinstance(value, str) else value for name, value in event.items()}
    line = json.dumps(event, ensure_ascii=True, allow_nan=False, separators=(",", ":")) + "\n"
    append(line.encode())


def append(line: bytes) -> None:
    """Appends one finished line to the run's events; does nothing outside a run or when the run has ended."""
    if FOLDER is None:
        return
    try:
        # No O_CREAT: a process that outlives the run must not bring its folder back.
        descriptor = os.open(os.path.join(FOLDER, "events.jsonl"), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
