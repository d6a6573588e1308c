"""A run in a cgroup that is too small: the kernel kills the worker, and the supervisor says so."""

from __future__ import annotations

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


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A memory cgroup of 300 MiB, below the root of whichever version this machine has."""
    is_v2 = (V2 / "cgroup.controllers").exists()
    folder = (V2 if is_v2 else V1) / f"dray-test-{os.getpid()}"
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


# The kernel counts its kills for the whole machine.
@pytest.mark.alone
def test_a_kill_for_want_of_memory_is_told_with_peak_and_limit(executable, clean_environment, project, task, cgroup):
    enter = f'echo $$ > {cgroup}/cgroup.procs && exec "$0" "$@"'
    ran = subprocess.run(
        ["/bin/sh", "-c", enter, executable, "run", project({"main.py": HOG}), "main.py"],
        cwd=task.folder, env=dict(clean_environment), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert ran.returncode == 137, ran.stderr
    outputs = task.outputs()
    assert outputs["before"] == 1
    assert outputs["dray"]["error"]["code"] == "worker.out_of_memory"
    # Pages of files that were in the cache before count for the resident set, and not for the cgroup.
    assert 200_000_000 < outputs["dray"]["peak_memory_bytes"] < 1.2 * LIMIT_BYTES
    last = ran.stderr.splitlines()[-1]
    assert "out of memory" in last and "of 300 MiB (cgroup)" in last
