"""One run of one tool: wall time, CPU time and memory of its processes. Knows nothing of what the tool does.

CPU time is that of all the tool's processes together, as wait4(2) adds it up for a process and the descendants that it
waited for; the servers are not among them. Memory is the largest resident set that any single one of them had.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """What a run took. `failure` says how it failed, `stopped` that it was over its limit."""

    wall_s: float
    user_s: float
    system_s: float
    peak_rss_bytes: int
    stopped: bool
    failure: str = ""

    @property
    def cpu_s(self) -> float:
        """User and system time."""
        return self.user_s + self.system_s


def run(
    commands: Sequence[Sequence[str]], cwd: Path, environment: Mapping[str, str], log: Path, limit_s: float
) -> Usage:
    """Run `commands` as a pipe, all that they print in `log`, and kill them once `limit_s` seconds are over."""
    launcher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("launcher.py"))]
    process = subprocess.Popen(
        launcher,
        cwd=cwd,
        env=dict(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    job = {"commands": [list(command) for command in commands], "log": str(log), "limit_s": limit_s}
    try:
        output, errors = process.communicate(json.dumps(job).encode())
    except BaseException:
        process.terminate()  # the launcher kills what it started
        process.wait()
        raise
    if process.returncode != 0:
        return Usage(0, 0, 0, 0, stopped=False, failure=errors.decode("utf-8", "replace").strip().splitlines()[-1])
    told = json.loads(output)
    parts = told["parts"]
    codes = [part["exit_code"] for part in parts]
    return Usage(
        wall_s=told["wall_s"],
        user_s=sum(part["user_s"] for part in parts),
        system_s=sum(part["system_s"] for part in parts),
        peak_rss_bytes=max(part["peak_rss_bytes"] for part in parts),
        stopped=told["stopped"],
        failure="" if not any(codes) else "exit code " + ", ".join(str(code) for code in codes),
    )
