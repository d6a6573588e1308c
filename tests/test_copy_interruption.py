"""A copy that is told to stop takes its rows back; a long one keeps its memory bounded and lets other threads run."""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import AT_LENGTH, Script, Task
from databases import PRODUCTS, ROUND, Database, Databases

WIDE_ROWS = 300_000

# Says when the copy is about to start, and when it ended, so that a test knows whether it interrupted one.
LONG = """
import dray, sys
print("starting", flush=True)
try:
    dray.copy_table("Source", "Target", "t", mode={mode!r})
    print("copied", flush=True)
finally:
    print("finally", flush=True)
"""


@pytest.fixture
def begin(
    start: Callable[..., subprocess.Popen[str]], project: Callable[..., Path], task: Task
) -> Callable[..., object]:
    """Start a long copy, and wait until it has run for `seconds`."""

    def run(source: Database, target: Database, mode: str, seconds: float) -> subprocess.Popen[str]:
        task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
        path = project({"main.py": LONG.format(mode=mode)})
        process = start("run", path, "main.py", cwd=task.folder, env=task.env)
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        time.sleep(seconds)
        assert process.poll() is None, "the copy was over before it could be interrupted"
        return process

    return run


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("mode", "number", "exit_code"),
    [("append", signal.SIGTERM, 143), ("truncate", signal.SIGTERM, 143), ("replace", signal.SIGINT, 130)],
)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_copy_stopped_by_a_signal_leaves_the_table_as_it_was(
    databases: Databases,
    long_tables: Callable[[str], Database],
    begin: Callable[..., subprocess.Popen[str]],
    task: Task,
    product: str,
    mode: str,
    number: signal.Signals,
    exit_code: int,
) -> None:
    source, target = long_tables("postgresql" if product != "postgresql" else "sqlite"), databases(product)
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note VARCHAR(100))")
    target.insert("t", [(-1, 0, "old")])
    process = begin(source, target, mode, seconds=0.4)
    process.send_signal(number)
    told = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    took = time.monotonic() - told
    assert "copied" not in stdout, "the copy was over before it could be interrupted"
    assert "finally" in stdout, "the script was not told by an exception"
    assert process.returncode == exit_code, stderr
    assert took < 5, f"it took {took:.1f} s to stop"
    assert target.query("SELECT id, note FROM t") == [(-1, "old")]
    assert target.tables() == {"t"}, "nothing but the table is left behind"
    assert task.outputs()["dray"]["exit_code"] == exit_code


@pytest.mark.timeout(300)
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_copy_stops_at_whatever_moment_it_is_told_to(
    databases: Databases,
    long_tables: Callable[[str], Database],
    begin: Callable[..., subprocess.Popen[str]],
    product: str,
) -> None:
    source, target = long_tables("sqlite"), databases(product)
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note VARCHAR(100))")
    target.insert("t", [(-1, 0, "old")])
    # From connecting over the plan and the first statements to the load.
    for number in range(15):
        process = begin(source, target, "replace", seconds=0.02 * number)
        process.send_signal(signal.SIGTERM)
        told = time.monotonic()
        stdout, stderr = process.communicate(timeout=60)
        assert ("copied" not in stdout, process.returncode) == (True, 143), stderr
        assert time.monotonic() - told < 5
        assert target.query("SELECT id, note FROM t") == [(-1, "old")]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_a_supervisor_that_is_killed_leaves_no_rows_and_no_session(
    databases: Databases,
    long_tables: Callable[[str], Database],
    begin: Callable[..., subprocess.Popen[str]],
    product: str,
) -> None:
    source, target = long_tables("sqlite"), databases(product)
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note VARCHAR(100))")
    process = begin(source, target, "append", seconds=0.4)
    process.kill()
    process.wait(10)
    sessions = {
        "postgresql": "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database()",
        "mariadb": "SELECT COUNT(*) FROM information_schema.processlist WHERE db = DATABASE()",
    }
    deadline = time.monotonic() + 30
    while target.query(sessions[product]) != [(1,)]:
        assert time.monotonic() < deadline, "the worker's session is still there"
        time.sleep(0.2)
    assert target.count("t") == 0


MEASURED = """
import dray, json

def peak_kib():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1])

dray.copy_table("Source", "Target", "small")  # the drivers and their libraries are not the copy's growth
before = peak_kib()
report = dray.copy_table("Source", "Target", "t")
print(json.dumps({"rows": report.rows, "growth_kib": peak_kib() - before}))
"""


@pytest.fixture(scope="module")
def wide_tables(module_databases: Databases) -> Callable[[str], Database]:
    """`wide_tables("sqlite")`: a database whose table `t` holds 343 MiB, and whose table `small` next to nothing."""

    @functools.cache
    def make(product: str) -> Database:
        database, text = module_databases(product), "x" * 1_200
        database.numbered("small", 10, text)
        database.numbered("t", WIDE_ROWS, text)
        return database

    return make


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("source_product", "target_product"),
    [
        *ROUND,
        *(
            (("postgresql", "sqlite"), ("sqlite", "mariadb"), ("mariadb", "postgresql"), ("mariadb", "mariadb"))
            if AT_LENGTH
            else ()
        ),
    ],
)
def test_memory_does_not_grow_with_the_table(
    databases: Databases,
    wide_tables: Callable[[str], Database],
    script: Script,
    source_product: str,
    target_product: str,
) -> None:
    source, target = wide_tables(source_product), databases(target_product)
    done = script(MEASURED, services={"Source": source.odbc, "Target": target.odbc}, timeout=500)
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["rows"] == WIDE_ROWS
    assert target.count("t") == WIDE_ROWS
    # The budget of the engine and its client libraries is 256 MiB.
    assert measured["growth_kib"] < 256 * 1024


@pytest.mark.alone
def test_other_threads_run_while_a_copy_does(
    databases: Databases, long_tables: Callable[[str], Database], script: Script
) -> None:
    source, target = long_tables("sqlite"), databases("postgresql")
    code = """
        import dray, json, threading, time

        ticks, over = [], threading.Event()

        def tick():
            while not over.is_set():
                ticks.append(time.monotonic())
                time.sleep(0.02)

        thread = threading.Thread(target=tick, daemon=True)
        thread.start()
        began = time.monotonic()
        dray.copy_table("Source", "Target", "t")
        ended = time.monotonic()
        over.set()
        thread.join()
        during = [began, *(at for at in ticks if began <= at <= ended), ended]
        print(json.dumps({"seconds": ended - began, "pause": max(b - a for a, b in zip(during, during[1:]))}))
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    measured = json.loads(done.stdout)
    assert measured["seconds"] > 0.4, "too short a copy to tell"
    assert measured["pause"] < measured["seconds"] / 2
    assert measured["pause"] < 1
