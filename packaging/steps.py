"""Runs the steps of a command (`make test`, `make lint`, `make demo`): a line each on the terminal, the rest in logs.

Knows nothing of what the steps do. Standard library only, Python 3.9 and up: it runs before anything is installed.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn, Optional

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "target"


class StepFailed(Exception):
    """A step ended badly. The text says what failed and what the reader can do; it may have several lines."""


@dataclass(frozen=True)
class Step:
    """How a step ended, and where its streams are."""

    log: Path
    exit_code: int


class Steps:
    """The steps of one command, with a log file each in `target/logs/<command>/`."""

    def __init__(self, command: str) -> None:
        self.logs = TARGET / "logs" / command
        self.logs.mkdir(parents=True, exist_ok=True)
        for old in self.logs.iterdir():
            old.unlink()
        self._count = 0

    def run(
        self,
        title: str,
        command: Sequence[str],
        *,
        cwd: Path = ROOT,
        env: Optional[dict[str, str]] = None,
        own_group: bool = True,
        check: bool = True,
        accepted: Sequence[int] = (0,),
    ) -> Step:
        """Run `command` with both streams in a log file.

        With `own_group` the command and its children form a process group that is killed if this process is told to
        stop; without it they may ask for a password on the terminal. With `check`, an exit code that is not one of the
        `accepted` raises `StepFailed` with the last lines of the log.
        """
        self._count += 1
        log = self.logs / f"{self._count}-{title.replace(' ', '-').replace('/', '-')}.log"
        print(f"  {title:<52}", end="", flush=True)
        started = time.monotonic()
        with log.open("wb") as stream:
            process = subprocess.Popen(
                list(command),
                cwd=cwd,
                env=env,
                stdin=subprocess.DEVNULL if own_group else None,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=own_group,
            )
            try:
                exit_code = process.wait()
            except BaseException:
                if own_group:
                    os.killpg(process.pid, signal.SIGKILL)
                process.kill()
                process.wait()
                raise
        seconds = time.monotonic() - started
        print(f"{'ok' if exit_code in accepted else 'FAILED':>6}{seconds:8.1f} s", flush=True)
        if check and exit_code not in accepted:
            raise StepFailed(f"{title}: exit code {exit_code}; {tail(log)}")
        return Step(log, exit_code)


def tail(log: Path, lines: int = 30) -> str:
    """The name of a log file and its last `lines` lines, as text for a message."""
    text = log.read_text("utf-8", "replace").splitlines()[-lines:]
    shown = "\n".join("    " + line for line in text)
    return f"the log is {relative(log)}, its end:\n{shown}"


def relative(path: Path) -> str:
    """`path` as seen from the current folder if it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def stop_on_signals() -> None:
    """Turn SIGTERM and SIGHUP into `SystemExit`, so that `finally` blocks stop what was started."""

    def stop(number: int, _frame: Optional[FrameType]) -> NoReturn:
        signal.signal(number, signal.SIG_IGN)
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)


def require_python() -> None:
    """Refuse a Python below 3.9, which the rest of the machinery could not even parse well."""
    if sys.version_info < (3, 9):  # noqa: UP036  not everybody's python3 is that new
        version = ".".join(str(part) for part in sys.version_info[:3])
        raise StepFailed(
            f"Python 3.9 or newer is needed, `{sys.executable}` is {version}; name another: make PYTHON=..."
        )


def unique(items: Sequence[str]) -> list[str]:
    """`items` without repeats, in their order."""
    return list(dict.fromkeys(items))
