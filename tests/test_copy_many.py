"""Many tables in one call: several at once on few connections, in an order that changes nothing, within one budget."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Script, Task
from databases import PRODUCTS, Database, Databases

COPY = """
    import dray, json
    report = dray.copy_tables([dray.Copy("Source", {tables!r})], target="Target"{options})
    print(json.dumps([[t.target, t.rows, t.duration_ms] for t in report.tables]))
"""


def copy(tables: list[str], options: str = "") -> str:
    """A script that copies these tables and prints target, rows and milliseconds of each report."""
    return COPY.format(tables=tables, options=options and f", {options}")


def services(source: Database, target: Database) -> dict[str, str]:
    """The linked services of a copy."""
    return {"Source": source.odbc, "Target": target.odbc}


def slow(database: Database, name: str, seconds: float) -> None:
    """A view of one row, the number 1, that takes its time."""
    database.execute(f"CREATE VIEW {name} AS SELECT 1 AS id FROM pg_sleep({seconds})")


def at_once(logs: Callable[[str], list[dict[str, Any]]], stderr: str) -> int:
    """How many tables a copy says to have copied at once."""
    (record,) = [record for record in logs(stderr) if record.get("event") == "copy.begun"]
    return int(record["fields"]["at_once"])


DEBUG = {"DRAY_LOG_LEVEL": "debug"}


def test_several_tables_are_copied_at_once_and_reported_in_the_order_of_the_request(
    databases: Databases, script: Script, logs: Callable[[str], list[dict[str, Any]]]
) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    seconds = {"a": 2.0, "b": 1.5, "c": 1.5, "d": 1.5}
    for name, needed in seconds.items():
        slow(source, name, needed)
    done = script(copy(list(seconds), "parallel=4"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [name for name, _, _ in reports] == list(seconds)
    assert all(rows == 1 for _, rows, _ in reports)
    ended = [record for record in logs(done.stderr) if record.get("event") == "copy.table"]
    assert ended[-1]["fields"]["target"] == "a", "the others were done before the slow one"
    began = [2.0 - duration / 1000 for _, _, duration in reports]
    assert sum(duration for _, _, duration in reports) > 6_000, began


@pytest.mark.parametrize(
    ("product", "options", "expected"),
    [
        ("postgresql", "parallel=3", 3),
        ("postgresql", "parallel=8, memory_limit='64MiB'", 2),
        ("postgresql", "parallel=8, memory_limit=33554432", 1),
        ("sqlite", "parallel=8", 1),
    ],
)
def test_no_more_tables_at_once_than_the_budget_and_the_target_take(
    databases: Databases,
    script: Script,
    logs: Callable[[str], list[dict[str, Any]]],
    product: str,
    options: str,
    expected: int,
) -> None:
    source, target = databases("sqlite"), databases(product)
    names = [f"t{number}" for number in range(10)]
    for name in names:
        source.fill(name, {"id": "INTEGER"}, [(1,)])
    done = script(copy(names, options), services=services(source, target), env=DEBUG)
    assert done.returncode == 0, done.stderr
    assert at_once(logs, done.stderr) == expected
    assert target.tables() == set(names)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("memory_limit='16MiB'", "32 MiB"),
        ("memory_limit='much'", "512MiB"),
        ("parallel=0", "at least one"),
        ("infinity='zero'", "`refuse`, `null`"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_before_anything_is_done(
    databases: Databases, script: Script, options: str, named: str
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    done = script(copy(["t"], options), services=services(source, target))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "ValueError" in last
    assert named in last
    assert target.tables() == set()


def test_many_tables_share_a_few_connections(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    names = [f"t{number}" for number in range(60)]
    for name in names:
        source.fill(name, {"id": "INTEGER"}, [(1,)])
    sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"

    def settled(database: Database) -> int:
        # The server's counters follow with a delay.
        last, same = -1, 0
        while same < 4:
            now = int(database.query(sessions)[0][0])
            last, same = (now, same + 1) if now == last else (now, 0)
            time.sleep(0.5)
        return last

    before = [settled(source), settled(target)]
    done = script(copy(["*"], "parallel=2"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.tables() == set(names)
    used = [settled(source) - before[0], settled(target) - before[1]]
    assert all(0 < sessions <= 8 for sessions in used), used


def test_a_table_that_refers_to_another_waits_for_it(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    slow(source, "parent", 1.5)
    source.execute("CREATE TABLE child (id integer)")
    source.insert("child", [(1,)])
    target.execute("CREATE TABLE parent (id integer PRIMARY KEY)")
    target.execute("CREATE TABLE child (id integer REFERENCES parent)")
    done = script(copy(["parent", "child"], "parallel=4"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id FROM child") == [(1,)]


def test_a_copy_that_reads_what_another_writes_waits_for_it(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("postgresql")
    slow(source, "first", 1.5)
    names = [f"t{number}" for number in range(6)]
    for name in names:
        source.fill(name, {"id": "INTEGER"}, [(1,)])
    code = f"""
        import dray
        copies = [
            dray.Copy("Source", {names!r}),
            dray.Copy("Source", "first"),
            dray.Copy("Target", "first", into="second"),
            dray.Copy("Target", query="SELECT id + 1 AS id FROM second", into="third"),
        ]
        print(dray.copy_tables(copies, target="Target", parallel=4, mode="replace").rows)
    """
    # Both have another shape before they are copied into.
    target.execute("CREATE TABLE first (gone text)")
    target.execute("CREATE TABLE second (gone text)")
    done = script(code, services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert (target.query("SELECT * FROM second"), target.query("SELECT * FROM third")) == ([(1,)], [(2,)])


ORDER = """
    import dray, json
    report = dray.copy_tables([dray.Copy("Source", {tables!r})], target="Target", parallel=2)
    print(json.dumps([[t.target, t.started_ms, t.started_ms + t.duration_ms] for t in report.tables]))
"""


def started(
    databases: Databases, script: Script, source: Database, target: Database, rows: dict[str, int]
) -> list[str]:
    """The tables in the order in which a copy of them, two at once, has begun them; each refers to none."""
    del databases
    for name, count in rows.items():
        source.numbered(name, count, "some text to carry over, and a number: ")
    # The servers know of new rows after a while alone, unless they are asked to look.
    if source.product == "postgresql":
        source.execute("ANALYZE")
    elif source.product == "mariadb":
        source.query(f"ANALYZE TABLE {', '.join(rows)}")
    done = script(ORDER.format(tables=list(rows)), services=services(source, target))
    assert done.returncode == 0, done.stderr
    times = json.loads(done.stdout)
    assert [name for name, _, _ in times] == list(rows), "the report has the order of the request"
    assert {name: target.count(name) for name in rows} == rows
    return [name for name, _, _ in sorted(times, key=lambda time: (time[1], time[2]))]


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_largest_table_is_begun_first_wherever_it_is_named(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases("postgresql")
    rows = {"tiny": 1, "small": 2_000, "middle": 10_000, "large": 20_000, "huge": 80_000}
    order = started(databases, script, source, target, rows)
    assert set(order[:2]) == {"huge", "large"}, order
    assert order[2:] == ["middle", "small", "tiny"], order


def test_a_large_table_waits_for_the_small_one_it_refers_to_which_then_comes_before_those_of_middle_size(
    databases: Databases, script: Script
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    for name, reference in {"parent": "", "child": " REFERENCES parent"}.items():
        target.execute(f"CREATE TABLE {name} (id integer PRIMARY KEY{reference}, square bigint, note text)")
    rows = {"a": 30_000, "b": 29_000, "c": 28_000, "parent": 40_000, "child": 40_000}
    order = started(databases, script, source, target, rows)
    assert order.index("parent") < order.index("child")
    assert "parent" in order[:2], order
    assert order[-1] != "child", order


@pytest.mark.parametrize("product", PRODUCTS)
def test_many_tables_of_odd_names_are_told_apart(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("postgresql")
    names = ["plain", "Plain2", 'a"b', "back\\slash", "{comma,braces}", "it's", "größe", "NULL", " blank"]
    for number, name in enumerate(names):
        source.fill(name, {f"c{number}": "INTEGER NOT NULL PRIMARY KEY"}, [(number,)])
        if number % 2:
            target.fill(name, {f"c{number}": "INTEGER"}, [(-1,)])
    done = script(copy(["*"], "mode='truncate'"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    assert target.tables() == set(names)
    for number, name in enumerate(names):
        assert target.query(f"SELECT c{number} FROM {target.quote(name)}") == [(number,)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_one_table_that_fails_leaves_those_beside_it_whole(databases: Databases, script: Script, product: str) -> None:
    source, target = databases("sqlite"), databases(product)
    names = [f"t{number}" for number in range(12)]
    for name in names:
        source.fill(name, {"id": "INTEGER"}, [(number,) for number in range(100)])
    for name in ("t3", "t7"):
        target.execute(f"CREATE TABLE {name} (id INTEGER CHECK (id <> 99))")
    code = """
        import dray
        try:
            dray.copy_tables([dray.Copy("Source", "*")], target="Target", parallel=4)
        except dray.CopyError as error:
            print(sorted(table.target for table in error.report.tables if table.error))
            raise
    """
    done = script(code, services=services(source, target))
    assert done.returncode == 1, done.stderr
    assert done.stdout == "['t3', 't7']\n"
    assert "and 1 more of 12 tables" in done.stderr.splitlines()[-1]
    assert {name: target.count(name) for name in names} == {name: 0 if name in ("t3", "t7") else 100 for name in names}


def test_source_and_target_in_one_sqlite_file_take_turns(databases: Databases, script: Script) -> None:
    database = databases("sqlite")
    for name in ("a", "b", "c"):
        database.numbered(name, 5_000, "text ")
    code = copy(["a", "b", "c"], "parallel=4").replace('target="Target"', 'target="Source"')
    code = code.replace("['a', 'b', 'c'])", "['a', 'b', 'c'], into='{table}_copy')")
    done = script(code, services={"Source": database.odbc})
    assert done.returncode == 0, done.stderr
    assert [database.count(f"{name}_copy") for name in ("a", "b", "c")] == [5_000] * 3


@pytest.mark.timeout(120)
@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_all_tables_that_are_under_way_are_rolled_back_by_a_signal(
    databases: Databases,
    start: Callable[..., subprocess.Popen[str]],
    project: Callable[..., Path],
    task: Task,
    product: str,
) -> None:
    source, target = databases("postgresql"), databases(product)
    names = ["a", "b", "c", "d"]
    for name in names:
        source.numbered(name, 1_000_000, "some text to carry over, and a number: ")
        target.execute(f"CREATE TABLE {name} (id INTEGER, square BIGINT, note VARCHAR(100))")
        target.insert(name, [(-1, 0, "old")])
    task.write_activity(linked_services=services(source, target))
    code = f"""
import dray
print("starting", flush=True)
dray.copy_tables([dray.Copy("Source", {names!r})], target="Target", parallel=3)
print("copied", flush=True)
"""
    process = start("run", project({"main.py": code}), "main.py", cwd=task.folder, env=task.env)
    assert process.stdout is not None
    assert process.stdout.readline() == "starting\n"
    time.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    took = time.monotonic() - told
    assert "copied" not in stdout, "the copy was over before it could be interrupted"
    assert process.returncode == 143, stderr
    assert took < 20, f"it took {took:.1f} s to stop"
    assert {name: target.count(name) for name in names} == dict.fromkeys(names, 1)


def test_a_long_table_says_how_far_it_is(
    databases: Databases, script: Script, logs: Callable[[str], list[dict[str, Any]]]
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute(
        "CREATE VIEW t AS SELECT i AS id, repeat('x', 40000) AS note FROM generate_series(1, 300) i, "
        "LATERAL (SELECT pg_sleep(0.01 + 0 * i)) AS s"
    )
    done = script(copy(["t"], "lanes='odbc'"), services=services(source, target))
    assert done.returncode == 0, done.stderr
    records = [record for record in logs(done.stderr) if record.get("event") == "copy.progress"]
    assert records, "three seconds and no word"
    fields = records[0]["fields"]
    assert 0 < fields["rows"] < 300
    assert fields["bytes"] >= fields["rows"] * 40_000
    assert 0 < fields["rows_per_s"] < 200
    assert (fields["tables"], fields["tables_copied"]) == (1, 0)
    assert fields["memory_bytes"] > 0
    of_table = [record for record in logs(done.stderr) if record.get("event") == "copy.table_progress"]
    assert of_table[0]["fields"]["rows"] >= fields["rows"]


def test_a_source_that_lets_nobody_in_is_tried_once(databases: Databases, script: Script) -> None:
    target = databases("sqlite")
    calls: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                calls.append(address)
                connection.close()

        threading.Thread(target=hang_up, daemon=True).start()
        source = f"Driver={{PostgreSQL Unicode}};Server=127.0.0.1;Port={server.getsockname()[1]};Database=d;UID=u;PWD=p"
        done = script(copy(["t"]), services={"Source": source, "Target": target.odbc})
        server.shutdown(socket.SHUT_RDWR)
    assert done.returncode == 114, done.stderr
    assert len(calls) == 1
