"""How far a copy is: for the script that has started it, on a terminal, and in the log."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import Script, Task
from databases import Database, Databases


@pytest.fixture
def slow(databases: Databases) -> tuple[Database, Database]:
    """A table `t` of 1,000 rows of 40 kB, of which its target takes a hundred a second; `u` waits for it."""
    source, target = databases("postgresql"), databases("postgresql")
    source.execute("CREATE TABLE t (id integer, note text)")
    source.execute("INSERT INTO t SELECT i, repeat(md5(i::text), 1250) FROM generate_series(1, 1000) i")
    source.execute("ALTER TABLE t ALTER note SET STORAGE EXTERNAL")
    source.execute("ANALYZE t")
    source.execute("CREATE TABLE u AS SELECT 1 AS id")
    target.execute("CREATE TABLE t (id integer, note text)")
    target.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$"
    )
    target.execute("CREATE TRIGGER wait BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION wait()")
    return source, target


START = """
    import dray, json, sys, time
    run = dray.start_copy(dray.Copy("Source", ["t", "u"]), target="Target", parallel=1)
    while not (now := run.progress()).running or now.running[0].rows == 0:
        time.sleep(0.02)
"""


def test_a_copy_that_was_started_tells_how_far_it_is_and_can_be_cancelled(
    slow: tuple[Database, Database], script: Script
) -> None:
    source, target = slow
    code = (
        START
        + """
    assert not run.done
    try:
        run.wait(0.01)
        sys.exit("it cannot have ended")
    except TimeoutError:
        pass
    run.cancel()
    try:
        run.wait()
        sys.exit("it was cancelled")
    except dray.CopyError as error:
        code, failed = error.code, [table.error["code"] for table in error.report.tables]
    after = run.progress()
    table = now.running[0]
    print(json.dumps([now.tables, now.rows, now.percent, table.estimated_rows, table.percent, table.left_s,
                      code, failed, run.done, len(after.running)]))
"""
    )
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    tables, rows, percent, estimated, table_percent, left_s, code, failed, ended, running = json.loads(done.stdout)
    assert (tables, estimated) == (2, 1_000)
    assert 0 < rows < 1_000
    assert 0 < table_percent < 100
    assert 0 <= percent < 100
    assert left_s is not None and left_s > 0
    assert (code, failed, ended, running) == ("copy.cancelled", ["copy.cancelled"] * 2, True, 0)
    assert (target.tables(), target.count("t")) == ({"t"}, 0)


def test_a_copy_that_goes_on_when_the_script_ends_is_rolled_back(
    slow: tuple[Database, Database], script: Script
) -> None:
    source, target = slow
    done = script(START + "    sys.exit(7)\n", services={"Source": source.odbc, "Target": target.odbc}, timeout=30)
    assert done.returncode == 7, done.stderr
    assert (target.tables(), target.count("t")) == ({"t"}, 0)


def test_a_started_copy_reports_as_any_other(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,), (2,)])
    code = """
        import dray
        with dray.start_copy(dray.Copy("Source", "t"), target="Target") as run:
            report = run.wait()
        now = run.progress()
        print(type(report).__name__, report.rows, now.tables_copied, now.rows, now.percent)
        try:
            dray.start_copy(dray.Copy("Source", "t"), target="Target", mode="gone").wait()
        except ValueError as error:
            print(error)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first == "CopyReport 2 1 2 100.0"
    assert second.startswith("mode is `gone`")


def test_a_terminal_shows_a_bar_for_each_table(
    slow: tuple[Database, Database], task: Task, executable: Path, clean_environment: Mapping[str, str]
) -> None:
    source, target = slow
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    terminal, other_end = pty.openpty()
    process = subprocess.Popen(
        [
            executable,
            "copy",
            "--source",
            "Source",
            "--table",
            "u",
            "--table",
            "t",
            "--target",
            "Target",
            "--parallel",
            "1",
        ],
        cwd=task.folder,
        env={**clean_environment, **task.env, "TERM": "xterm-256color", "COLUMNS": "120"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=other_end,
        encoding="utf-8",
    )
    os.close(other_end)
    shown = ""
    with contextlib.suppress(OSError):  # how a terminal says that its other end is closed
        while piece := os.read(terminal, 65536):
            shown += piece.decode("utf-8", "replace")
            if "1 of 2 tables" in shown and " left" in shown:
                process.terminate()
    os.close(terminal)
    process.communicate(timeout=30)
    assert process.returncode == 143, shown
    assert "table copied" in shown, "the log goes on above the bars"
    assert "1 of 2 tables" in shown, shown
    assert " rows, " in shown and " %, " in shown and " left" in shown, shown
    assert target.count("t") == 0
