"""SQLite's own lanes: when they are taken, that every value stays what it is, locks, and files that source and target
share.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import struct
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Script, Task
from databases import Database, Databases, Sqlite

COPY = """
    import dray, sys
    options = dict(pair.split("=", 1) for pair in sys.argv[1:])
    report = dray.copy_table("Source", "Target", "t", **options)
    print(report.rows, report.read_lane, report.write_lane)
"""


@pytest.fixture
def copy(script: Script) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Copy table `t` with these options; the log has the plan."""

    def run(source: str, target: str, *options: str, code: str = COPY) -> subprocess.CompletedProcess[str]:
        return script(code, *options, services={"Source": source, "Target": target}, env={"DRAY_LOG_LEVEL": "debug"})

    return run


def plan(logs: Callable[[str], list[dict[str, Any]]], done: subprocess.CompletedProcess[str]) -> str:
    """The plan of the copy as the log has it."""
    records = [record for record in logs(done.stderr) if record.get("event") == "copy.plan"]
    assert len(records) == 1, done.stderr.splitlines()[-1]
    return str(records[0].get("plan") or records[0]["fields"]["plan"])


def test_the_direct_lanes_are_taken_and_the_plan_says_why(
    databases: Databases,
    copy: Callable[..., subprocess.CompletedProcess[str]],
    logs: Callable[[str], list[dict[str, Any]]],
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 10, "x")
    done = copy(source.odbc, target.odbc)
    assert done.stdout == "10 direct direct\n", done.stderr.splitlines()[-1]
    told = plan(logs, done)
    assert "read by direct: libsqlite3" in told
    assert "written by direct: libsqlite3" in told
    done = copy(source.odbc, target.odbc, "lanes=odbc", "mode=replace")
    assert done.stdout == "10 odbc odbc\n", done.stderr.splitlines()[-1]
    assert "not `direct`: lanes are set to `odbc`" in plan(logs, done)


@pytest.mark.parametrize(
    ("database", "option", "reason"),
    [
        ("{path}", "LoadExt=/nowhere/extension.so", "`LoadExt`"),
        ("{path}", "PWD=key", "`PWD`"),
        ("file:{path}?cache=shared", "", "URI"),
        (":memory:", "", "in memory"),
    ],
)
def test_what_only_the_driver_can_open_is_read_through_the_driver(
    databases: Databases,
    copy: Callable[..., subprocess.CompletedProcess[str]],
    logs: Callable[[str], list[dict[str, Any]]],
    database: str,
    option: str,
    reason: str,
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    assert isinstance(source, Sqlite)
    string = f"Driver={{SQLite3}};Database={database.format(path=source.path)};{option}"
    code = COPY.replace('"t", **options', 'None, query="SELECT 1 AS one", into="t"')
    done = copy(string, target.odbc, code=code)
    assert done.stdout == "1 odbc direct\n", done.stderr.splitlines()[-1]
    told = plan(logs, done)
    assert "not `direct`: " in told
    assert reason in told


def test_a_query_that_needs_the_drivers_own_functions_is_read_through_the_driver(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    (tmp_path / "note").write_bytes(b"from a file")
    query = f"SELECT CAST(blob_import('{tmp_path / 'note'}') AS BLOB) AS data"
    code = COPY.replace('"t", **options', f'None, query="{query}", into="t"')
    done = copy(source.odbc, target.odbc, code=code)
    assert done.stdout == "1 odbc direct\n", done.stderr.splitlines()[-1]
    assert target.query("SELECT data FROM t") == [(b"from a file",)]


VALUES = [
    *("NULL", "0", "1", "-1", "2", "9223372036854775807", "-9223372036854775808", "9007199254740993"),
    *("0.0", "-0.0", "1.5", "0.1", "1e300", "5e-324", "9e999", "-9e999", "3.0", "12345678901234567.0"),
    *("''", "'00123'", "' 1.0 '", "'1e3'", "'text'", "'a' || char(0) || 'b'", "CAST(x'ff41' AS TEXT)", "'NaN'"),
    *("'2024-02-29'", "'31.12.1999'", "'2024-01-02 03:04:05.123456789+05:45'", "'12:34:56'", "'true'", "'🎉'"),
    *("x''", "x'00ff41'", "zeroblob(3)"),
]

DECLARED = [
    *("", "INTEGER", "BIGINT", "BOOLEAN", "DOUBLE", "REAL", "DECIMAL(10,2)", "DECIMAL_TEXT(30,2)", "NUMERIC", "TEXT"),
    *("VARCHAR(3)", "CHAR(2)", "BLOB", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE", "JSON", "UUID"),
    *("STRING", "ANY", "XML", "FLOATING POINT", "BOOLEAN TEXT"),
]


def stored(database: Sqlite, table: str = "t") -> list[tuple[Any, ...]]:
    """What a table holds, with the class of each value, reals and text bit by bit."""
    rows = []
    connection = sqlite3.connect(database.path)
    connection.text_factory = bytes
    for row in connection.execute(f"SELECT * FROM {table} ORDER BY id"):
        rows.append(
            tuple(("real", struct.pack(">d", v)) if isinstance(v, float) else (type(v).__name__, v) for v in row)
        )
    connection.close()
    return rows


@pytest.mark.parametrize("exists", [False, True], ids=["new", "existing"])
@pytest.mark.parametrize("strict", ["", "STRICT"])
def test_between_two_files_every_value_of_every_class_stays_what_it_is(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], strict: str, exists: bool
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    assert isinstance(source, Sqlite)
    assert isinstance(target, Sqlite)
    declared = ["INTEGER", "INT", "REAL", "TEXT", "BLOB", "ANY"] if strict else DECLARED
    columns = ", ".join(f"c{number} {each}" for number, each in enumerate(declared))
    create = f"CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, {columns}) {strict}"
    source.execute(create)
    for value in VALUES:
        source.execute("INSERT INTO t (id) VALUES (NULL)")
        for number in range(len(declared)):
            try:
                source.execute(f"UPDATE t SET c{number} = {value} WHERE id = last_insert_rowid()")
            except sqlite3.IntegrityError:
                assert strict
    if exists:
        target.execute(create)
    elif strict:
        # A table that is made is not STRICT: its column of type ANY does not keep everything, and says so.
        source.execute("UPDATE t SET c5 = NULL WHERE typeof(c5) IN ('text', 'real')")
    done = copy(source.odbc, target.odbc)
    assert done.stdout == f"{len(VALUES)} direct direct\n", done.stderr.splitlines()[-1]
    assert stored(target) == stored(source)
    types = "SELECT name, type, \"notnull\", pk FROM pragma_table_info('t')"
    assert target.query(types) == source.query(types)


def test_values_of_several_classes_in_an_untyped_column_are_refused_by_another_product(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.execute("CREATE TABLE t (id INTEGER, mixed)")
    source.insert("t", [(1, 1), (2, "1")])
    done = copy(source.odbc, target.odbc)
    assert done.returncode == 1
    assert "`mixed`" in done.stderr.splitlines()[-1]
    assert target.tables() == set()


@pytest.mark.parametrize(
    ("source_type", "value", "target_type", "part"),
    [
        ("text", "'00123'", "STRING", "text that is a number"),
        ("text", "' 1e3'", "NAME", "text that is a number"),
        ("json", "'1.0'", "JSON", "text that is a number"),
        ("double precision", "'-0'", "DOUBLE", "-0.0"),
        ("boolean", "true", "BOOLEAN TEXT", "as text"),
    ],
)
@pytest.mark.parametrize("lanes", ["auto", "odbc"])
def test_a_value_that_a_columns_affinity_would_change_is_refused(
    databases: Databases,
    copy: Callable[..., subprocess.CompletedProcess[str]],
    lanes: str,
    source_type: str,
    value: str,
    target_type: str,
    part: str,
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute(f"CREATE TABLE t (id integer, value {source_type})")
    source.execute(f"INSERT INTO t VALUES (1, NULL), (2, {value})")
    target.execute(f"CREATE TABLE t (id INTEGER, value {target_type})")
    done = copy(source.odbc, target.odbc, f"lanes={lanes}")
    assert done.returncode == 1, target.query("SELECT value, typeof(value) FROM t")
    last = done.stderr.splitlines()[-1]
    assert "`value`" in last
    assert part in last
    assert target.count("t") == 0


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
def test_null_for_the_rowid_is_refused_and_never_a_number_of_sqlites(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], lanes: str
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(7,), (None,)])
    target.execute("CREATE TABLE t (id INTEGER PRIMARY KEY)")
    done = copy(source.odbc, target.odbc, f"lanes={lanes}")
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "column `id`" in last or "column id" in last
    assert "NULL" in last
    assert target.count("t") == 0


@pytest.mark.parametrize("clause", ["", "ON CONFLICT IGNORE", "ON CONFLICT REPLACE"])
def test_a_constraint_violated_in_the_last_row_leaves_the_table_as_it_was(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], clause: str
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.numbered("t", 20_000, "x")
    source.execute("UPDATE t SET note = 'taken' WHERE id = 20000")
    target.execute(f"CREATE TABLE t (id INTEGER, square BIGINT, note TEXT UNIQUE {clause})")
    target.insert("t", [(-1, 0, "taken")])
    done = copy(source.odbc, target.odbc)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "row 20000" in last
    assert "t.note" in last
    assert target.query("SELECT id, note FROM t") == [(-1, "taken")]


@pytest.mark.parametrize("support", ["0", "1"])
def test_foreign_keys_are_checked_as_the_connection_says(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], support: str
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.numbered("t", 3, "x")
    target.execute("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
    target.execute("CREATE TABLE t (id INTEGER REFERENCES parent, square BIGINT, note TEXT)")
    done = copy(source.odbc, f"{target.odbc};FKSupport={support}")
    assert done.returncode == int(support), done.stderr.splitlines()[-1]
    assert target.count("t") == (0 if support == "1" else 3)


@pytest.mark.parametrize("name", ["with space", "ö ☃ '\"", "100%", "a=b", "#?&", "~$HOME"])
def test_a_file_may_have_any_name(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], name: str
) -> None:
    source, target = databases("sqlite", f"from {name}"), databases("sqlite", f"to {name}")
    source.numbered("t", 3, "x")
    done = copy(source.odbc, target.odbc)
    assert done.stdout == "3 direct direct\n", done.stderr.splitlines()[-1]
    assert target.count("t") == 3


@pytest.mark.parametrize("locked", ["source", "target"])
def test_a_file_that_stays_locked_is_named(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], locked: str
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 3, "x")
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note TEXT)")
    held = source if locked == "source" else target
    assert isinstance(held, Sqlite)
    code = COPY.replace(
        "report =",
        f"""import sqlite3
    held = sqlite3.connect({str(held.path)!r}, isolation_level=None)
    held.execute("BEGIN {"EXCLUSIVE" if locked == "source" else "IMMEDIATE"}")
    report =""",
    )
    done = copy(f"{source.odbc};Timeout=300", f"{target.odbc};Timeout=300", code=code)
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "locked" in last
    if locked == "target":  # with a source the driver's session meets the lock first, when the table is looked up
        assert str(held.path) in last


LONG = """
import dray, sys, time
print("starting", flush=True)
try:
    dray.copy_table("Source", "Target", "t")
    print("copied", flush=True)
finally:
    print("finally", flush=True)
"""


@pytest.fixture
def begin(
    start: Callable[..., subprocess.Popen[str]], project: Callable[..., Path], task: Task
) -> Callable[..., subprocess.Popen[str]]:
    """Start a long copy, and wait until it has run for `seconds`."""

    def run(source: str, target: str, seconds: float) -> subprocess.Popen[str]:
        task.write_activity(linked_services={"Source": source, "Target": target})
        process = start("run", project({"main.py": LONG}), "main.py", cwd=task.folder, env=task.env)
        assert process.stdout is not None
        assert process.stdout.readline() == "starting\n"
        time.sleep(seconds)
        assert process.poll() is None, "the copy was over before it could be interrupted"
        return process

    return run


def stop(process: subprocess.Popen[str]) -> None:
    """Send SIGTERM; the process has to end within two seconds."""
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    took = time.monotonic() - told
    assert "copied" not in stdout, "the copy was over before it could be interrupted"
    assert "finally" in stdout
    assert process.returncode == 143, stderr
    assert took < 2, f"it took {took:.1f} s to stop"


def test_a_copy_that_waits_for_a_lock_stops_at_once(
    databases: Databases, begin: Callable[..., subprocess.Popen[str]]
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.numbered("t", 3, "x")
    target.execute("BEGIN IMMEDIATE")
    stop(begin(source.odbc, target.odbc, 0.7))
    target.execute("ROLLBACK")
    assert target.tables() == set()


@pytest.mark.parametrize("rows", ["in", "between"])
def test_a_copy_stops_at_once_in_the_middle(
    databases: Databases,
    long_tables: Callable[[str], Database],
    begin: Callable[..., subprocess.Popen[str]],
    rows: str,
) -> None:
    target = databases("sqlite")
    if rows == "in":
        source = databases("sqlite")
        # A view whose first row takes forever.
        source.execute("CREATE TABLE one (id INTEGER)")
        source.insert("one", [(1,)])
        source.execute(
            "CREATE VIEW t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
            "SELECT id FROM one WHERE (SELECT COUNT(*) FROM n) > 0"
        )
        target.execute("CREATE TABLE t (id INTEGER)")
    else:
        source = long_tables("sqlite")
        target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note TEXT)")
        target.insert("t", [(-1, 0, "old")])
    stop(begin(source.odbc, target.odbc, 1))
    assert target.count("t") == (0 if rows == "in" else 1)


def test_a_load_that_is_killed_leaves_the_file_as_it_was(
    databases: Databases, long_tables: Callable[[str], Database], begin: Callable[..., subprocess.Popen[str]]
) -> None:
    source, target = long_tables("sqlite"), databases("sqlite")
    assert isinstance(target, Sqlite)
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note TEXT)")
    target.insert("t", [(-1, 0, "old")])
    process = begin(source.odbc, target.odbc, 0)
    deadline = time.monotonic() + 60
    while target.path.stat().st_size <= 1 << 20:
        assert process.poll() is None and time.monotonic() < deadline, "nothing was written before the kill"
        time.sleep(0.01)
    process.kill()
    process.wait(10)
    deadline = time.monotonic() + 30
    while True:
        try:
            target.execute("BEGIN IMMEDIATE")
            break
        except sqlite3.OperationalError:
            assert time.monotonic() < deadline, "the worker still holds the file"
    target.execute("ROLLBACK")
    assert target.query("SELECT id, note FROM t") == [(-1, "old")]
    assert target.query("PRAGMA integrity_check") == [("ok",)]


def test_a_destination_out_of_space_is_rolled_back_and_named(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    assert isinstance(target, Sqlite)
    source.numbered("t", 30_000, "x" * 1_000)
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note TEXT)")
    # A file that must not grow beyond 20 MiB stands for a full disk. Python ignores the signal that comes with it.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20 << 20, 20 << 20))\n    report ="
    done = copy(source.odbc, target.odbc, code=COPY.replace("report =", limit, 1))
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert str(target.path) in last
    assert "full" in last or "I/O" in last
    assert target.count("t") == 0
    assert target.query("PRAGMA integrity_check") == [("ok",)]


MEASURED = """
import dray, json

def peak_kib():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1])

dray.copy_table("Source", "Target", "small", into="small2")
before = peak_kib()
report = dray.copy_table("Source", "Target", "t", into="t2", mode="replace")
print(json.dumps({"rows": report.rows, "growth_kib": peak_kib() - before}))
"""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_source_and_target_may_be_one_file_and_memory_stays_bounded(
    databases: Databases, script: Script, journal: str
) -> None:
    file = databases("sqlite")
    file.query(f"PRAGMA journal_mode = {journal}")
    file.numbered("small", 10, "x")
    rows = 120_000
    file.numbered("t", rows, "x" * 1_200)
    file.fill("t2", {"old": "INTEGER"}, [(1,)])
    done = script(MEASURED, services={"Source": file.odbc, "Target": file.odbc}, timeout=240)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    measured = json.loads(done.stdout)
    assert measured["rows"] == rows
    assert file.query("SELECT COUNT(*) FROM t JOIN t2 ON t.id = t2.id AND t.note = t2.note") == [(rows,)]
    # The table has 140 MiB.
    assert measured["growth_kib"] < 96 * 1024


def test_a_constraint_of_a_table_in_the_same_file_names_the_row(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    file = databases("sqlite")
    file.numbered("t", 5_000, "x")
    file.execute("CREATE TABLE t2 (id INTEGER CHECK (id <> 4321), square BIGINT, note TEXT)")
    done = copy(file.odbc, file.odbc, "into=t2")
    assert done.returncode == 1
    assert "row 4321" in done.stderr.splitlines()[-1]
    assert file.count("t2") == 0
    assert file.tables() == {"t", "t2"}


@pytest.mark.parametrize("other", ["sqlite", "postgresql", "mariadb"])
@pytest.mark.parametrize("kind", ["text", "bytes"])
def test_cells_of_up_to_16_mib_pass(
    databases: Databases, copy: Callable[..., subprocess.CompletedProcess[str]], kind: str, other: str
) -> None:
    there, between, back = databases("sqlite"), databases(other), databases("sqlite")
    lengths = [0, 1, 4095, 4096, 70_000, 1 << 20, 16 << 20, 3]
    text = [("ä" if number % 2 else "b") * (length // (1 + number % 2)) for number, length in enumerate(lengths)]
    values = text if kind == "text" else [bytes([255 - number]) * length for number, length in enumerate(lengths)]
    rows = list(enumerate(values))
    there.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "value": "TEXT" if kind == "text" else "BLOB"}, rows)
    assert copy(there.odbc, between.odbc).returncode == 0
    done = copy(between.odbc, back.odbc)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    found = back.query("SELECT id, value FROM t ORDER BY id")
    assert [(number, len(value)) for number, value in found] == [(number, len(value)) for number, value in rows]
    assert found == rows
