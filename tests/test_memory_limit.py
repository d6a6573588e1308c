"""A run in a cgroup that is too small: the kernel kills the worker, and the supervisor says so."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

LIMIT_BYTES = 300 * 1024 * 1024
V1 = Path("/sys/fs/cgroup/memory")
V2 = Path("/sys/fs/cgroup")

HOG = """
import dray
dray.outputs["before"] = 1
held = []
while True:
    held.append(bytearray(16 * 1024 * 1024))
"""


@contextlib.contextmanager
def memory_cgroup(name: str) -> Iterator[Path]:
    """A memory cgroup of 300 MiB, below the root of whichever version this machine has."""
    is_v2 = (V2 / "cgroup.controllers").exists()
    folder = (V2 if is_v2 else V1) / f"dray-test-{os.getpid()}-{name}"
    try:
        if is_v2:
            (V2 / "cgroup.subtree_control").write_text("+memory")
        folder.mkdir()
        (folder / ("memory.max" if is_v2 else "memory.limit_in_bytes")).write_text(str(LIMIT_BYTES))
        swap = folder / ("memory.swap.max" if is_v2 else "memory.memsw.limit_in_bytes")
        if swap.exists():
            swap.write_text("0" if is_v2 else str(LIMIT_BYTES))
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield folder
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        try:
            folder.rmdir()
            return
        except OSError:
            time.sleep(0.05)


@pytest.fixture
def cgroup() -> Iterator[Path]:
    with memory_cgroup("own") as folder:
        yield folder


@pytest.fixture
def other_cgroup() -> Iterator[Path]:
    with memory_cgroup("other") as folder:
        yield folder


@pytest.fixture
def run_in(executable, clean_environment, project, task):
    """Runs a script in a cgroup."""

    def run(cgroup: Path, source: str) -> subprocess.CompletedProcess[str]:
        enter = f'echo $$ > {cgroup}/cgroup.procs && exec "$0" "$@"'
        return subprocess.run(
            ["/bin/sh", "-c", enter, executable, "run", project({"main.py": source}), "main.py"],
            cwd=task.folder, env=dict(clean_environment), capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


# Beside others the machine might run out of memory, and not only the cgroup.
@pytest.mark.alone
def test_a_kill_for_want_of_memory_is_told_with_peak_and_limit(run_in, task, cgroup):
    ran = run_in(cgroup, HOG)
    assert ran.returncode == 137, ran.stderr
    outputs = task.outputs()
    assert outputs["before"] == 1
    assert outputs["dray"]["error"]["code"] == "worker.out_of_memory"
    # Pages of files that were in the cache before count for the resident set, and not for the cgroup.
    assert 200_000_000 < outputs["dray"]["peak_memory_bytes"] < 1.2 * LIMIT_BYTES
    last = ran.stderr.splitlines()[-1]
    assert "out of memory" in last and "of 300 MiB (cgroup)" in last


@pytest.mark.alone
def test_a_kill_is_not_laid_to_memory_that_ran_out_elsewhere(run_in, task, cgroup, other_cgroup):
    source = f"""
import os, signal, subprocess, sys
hog = "held = []\\nwhile True: held.append(bytearray(16 * 1024 * 1024))"
enter = 'echo $$ > {other_cgroup}/cgroup.procs && exec "$0" "$@"'
assert subprocess.run(["/bin/sh", "-c", enter, sys.executable, "-c", hog]).returncode == -signal.SIGKILL
os.kill(os.getpid(), signal.SIGKILL)
"""
    ran = run_in(cgroup, source)
    assert ran.returncode == 137, ran.stderr
    assert task.outputs()["dray"]["error"]["code"] == "worker.killed"
