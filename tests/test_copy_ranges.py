"""One table in key ranges: every row once and as it is, all of one state, and a plan that says which ranges and how."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import Script, Task
from copying import Copying
from databases import PRODUCTS, Database, Databases

RANGES = 3

# SQL Server is one where DRAY_TEST_MSSQL leads to a database that may be emptied.
SOURCES = (*PRODUCTS, "sqlserver")

# A product's source need not be its own.
OTHER = {"sqlite": "postgresql", "postgresql": "sqlite", "mariadb": "postgresql", "sqlserver": "postgresql"}

NOTE = {"sqlite": "TEXT", "postgresql": "text", "mariadb": "VARCHAR(100)", "sqlserver": "nvarchar(100)"}

# Names that sort one way by their code points and another by what they are.
WORDS = [
    "Åsa",
    "äther",
    "Zoë",
    "zebra",
    "apple",
    "Apple",
    "ÉCLAIR",
    "éclair",
    "日本",
    "🔑",
    "it's",
    'a"b',
    "back\\slash",
    " ",
]

PLAN = """
import dray, json
plan = dray.plan_copy(dray.Copy("Source", {table!r}), target="Target", {options})
print(json.dumps([[t.ranges, t.read_lane_reason, t.error] for t in plan.tables]))
print(plan, file=__import__("sys").stderr)
"""


def keys(database: Database, kind: str) -> tuple[dict[str, str], str, list[tuple[Any, ...]]]:
    """The columns of a key, its text in the DDL, and rows of it."""
    product = database.product
    if kind == "integer":
        return {"id": "BIGINT NOT NULL"}, "id", [(number,) for number in range(1, 3001)]
    if kind == "gaps":
        # The least and the greatest number, and islands of many between.
        numbers = [-(2**63), 2**63 - 1, *range(-5000, -4000), *range(2**40, 2**40 + 1500), *range(2**60, 2**60 + 500)]
        return {"id": "BIGINT NOT NULL"}, "id", [(number,) for number in numbers]
    if kind == "text":
        collations = {
            "sqlite": "TEXT COLLATE NOCASE NOT NULL",
            "postgresql": 'text COLLATE "C" NOT NULL',
            "mariadb": "VARCHAR(40) CHARACTER SET latin1 COLLATE latin1_german2_ci NOT NULL",
            # Ordered otherwise than the same text in UTF-16.
            "sqlserver": "varchar(40) COLLATE SQL_Latin1_General_CP1_CI_AS NOT NULL",
        }
        of_code_page = ("mariadb", "sqlserver")
        latin = ("Åsa", "äther", "Zoë")
        words = [word for word in WORDS if product not in of_code_page or word.isascii() or word in latin]
        # Where `a` and `A` are one key.
        words = [word for word in words if product == "postgresql" or word != "Apple"]
        return {"name": collations[product]}, "name", [(f"{word}{n:03}",) for word in words for n in range(100)]
    if kind == "several":
        # Of the first column there are three values, and nine tenths of the rows have one of them.
        columns = {"region": NOTE[product] + " NOT NULL", "day": "DATE NOT NULL", "id": "INTEGER NOT NULL"}
        regions = ["ä"] * 2 + ["b's"] * 26 + ["ç"] * 2
        rows = [(r, f"2024-{m:02}-01", n) for n, r in enumerate(regions * 8, 1) for m in range(1, 13)]
        return columns, "region, day, id", rows
    if kind == "tenants":
        columns = {"tenant": "INTEGER NOT NULL", "id": "INTEGER NOT NULL"}
        return columns, "tenant, id", [(number % 3 // 2, number) for number in range(3000)]
    if kind == "uuid":
        declared = {
            "sqlite": "UUID_TEXT",
            "postgresql": "uuid",
            "mariadb": "UUID",
            "sqlserver": "uniqueidentifier",
        }[product]
        rows = [(str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))),) for number in range(2000)]
        return {"id": f"{declared} NOT NULL"}, "id", rows
    if kind == "bytes":
        declared = {
            "sqlite": "BLOB",
            "postgresql": "bytea",
            "mariadb": "VARBINARY(16)",
            "sqlserver": "varbinary(16)",
        }[product]
        rows = [(uuid.uuid5(uuid.NAMESPACE_OID, str(number)).bytes,) for number in range(2000)]
        return {"id": f"{declared} NOT NULL"}, "id", rows
    assert kind == "timestamp"
    declared = {
        "sqlite": "TIMESTAMP",
        "postgresql": "timestamp(6)",
        "mariadb": "DATETIME(6)",
        "sqlserver": "datetime2(6)",
    }[product]
    rows = [(f"{1970 + n % 60:04}-01-01 00:{n // 60:02}:00.{n:06}",) for n in range(1800)]
    return {"at": f"{declared} NOT NULL"}, "at", rows


def make(database: Database, kind: str, table: str = "t", more: str = "") -> list[tuple[Any, ...]]:
    """A table with this key and a note; what an independent client reads of it, sorted."""
    columns, key, rows = keys(database, kind)
    declared = database.columns({**columns, "note": NOTE[database.product]})
    database.execute(f"CREATE TABLE {database.quote(table)} ({declared}, PRIMARY KEY ({key})){more}")
    database.insert(table, [(*row, f"n{number}") for number, row in enumerate(rows)])
    return content(database, table)


def content(database: Database, table: str = "t") -> list[tuple[Any, ...]]:
    """The notes with their keys as text, in the order of the notes; a row that is there twice is there twice."""
    rows = database.query(f"SELECT * FROM {database.quote(table)}")
    return sorted((row[-1], *(plain(value) for value in row[:-1])) for row in rows)


def plain(value: Any) -> str:
    """One value, as each client spells it alike."""
    text = bytes(value).hex() if isinstance(value, (bytes, memoryview)) else str(value)
    if re.fullmatch(r"[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}", text):
        return text.lower()
    return text.rstrip("0").rstrip(".") if ":" in text and "." in text else text


def without_key(target: Database, kind: str) -> None:
    """The target's table, where nothing but the copy itself keeps a row from being there twice."""
    columns, _, _ = keys(target, kind)
    if kind == "text":
        columns = {"name": NOTE[target.product]}
    target.execute(f"CREATE TABLE t ({target.columns({**columns, 'note': NOTE[target.product]})})")


@pytest.mark.parametrize("kind", ["integer", "gaps", "text", "several", "tenants", "uuid", "bytes", "timestamp"])
@pytest.mark.parametrize("product", SOURCES)
def test_every_row_comes_once_whatever_its_key_is(
    databases: Databases, copying: Copying, product: str, kind: str
) -> None:
    source, target = databases(product), databases(OTHER[product])
    rows = make(source, kind)
    analyze(source)
    without_key(target, kind)
    copied = copying(source, target, "t", ranges=RANGES)
    assert copied.error("t") is None
    assert content(target) == rows
    table = copied.tables["t"]
    assert table["ranges"] in (2, 3), table["read_lane_reason"]
    assert f"in {table['ranges']} ranges by " in table["read_lane_reason"]


def analyze(database: Database) -> None:
    """Let the server count its rows."""
    if database.product in ("mariadb", "postgresql"):
        database.execute("ANALYZE TABLE t" if database.product == "mariadb" else "ANALYZE t")


def test_a_table_of_sqlite_without_row_numbers_is_parted_by_its_key(databases: Databases, copying: Copying) -> None:
    for kind in ("integer", "text", "several"):
        source, target = databases("sqlite"), databases("postgresql")
        rows = make(source, kind, more=" WITHOUT ROWID")
        without_key(target, kind)
        copied = copying(source, target, "t", ranges=RANGES)
        assert copied.error("t") is None
        assert content(target) == rows
        assert copied.tables["t"]["ranges"] == RANGES
        assert "ranges by key (" in copied.tables["t"]["read_lane_reason"]


def test_a_partitioned_table_of_postgresql_is_parted_by_a_sample_of_its_key(
    databases: Databases, copying: Copying
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute(
        "CREATE TABLE t (region text, id int, note text, PRIMARY KEY (region, id)) PARTITION BY LIST (region)"
    )
    for number, region in enumerate("abc"):
        source.execute(f"CREATE TABLE t{number} PARTITION OF t FOR VALUES IN ('{region}')")
    source.execute(
        "INSERT INTO t SELECT substr('abc', 1 + (n % 7) / 3, 1), n, 'n' || n FROM generate_series(1, 20000) n"
    )
    analyze(source)
    copied = copying(source, target, "t", ranges=RANGES)
    assert copied.error("t") is None
    assert content(target) == content(source)
    assert copied.tables["t"]["ranges"] == RANGES
    assert 'ranges by key ("region", "id")' in copied.tables["t"]["read_lane_reason"]


def test_a_table_that_others_inherit_from_is_read_in_one_range(databases: Databases, copying: Copying) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute("CREATE TABLE t (id int, note text, PRIMARY KEY (id))")
    source.execute("CREATE TABLE heir () INHERITS (t)")
    source.execute("INSERT INTO t SELECT n, 'n' || n FROM generate_series(1, 2000) n")
    source.execute("ALTER TABLE heir ALTER id DROP NOT NULL")
    source.execute("INSERT INTO heir VALUES (7, 'twice'), (-5, 'more')")
    target.execute("CREATE TABLE t (id INTEGER, note TEXT)")
    copied = copying(source, target, "t", ranges=RANGES)
    assert copied.error("t") is None
    assert content(target) == content(source)
    assert "in one range: other tables inherit from it" in copied.tables["t"]["read_lane_reason"]


@pytest.mark.parametrize("rows", [0, 1, 2])
@pytest.mark.parametrize("product", SOURCES)
def test_a_table_of_few_rows_is_copied_all_the_same(
    databases: Databases, copying: Copying, product: str, rows: int
) -> None:
    source, target = databases(product), databases(OTHER[product])
    source.execute(f"CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note {NOTE[product]})")
    if rows:
        source.insert("t", [(number, str(number)) for number in range(rows)])
    copied = copying(source, target, "t", ranges=RANGES)
    assert copied.error("t") is None
    assert content(target) == content(source)
    assert copied.tables["t"]["rows"] == rows


@pytest.mark.parametrize("product", SOURCES)
def test_the_plan_shows_ranges_of_which_each_row_is_in_exactly_one(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases(OTHER[product])
    make(source, "gaps")
    analyze(source)
    ranges, reason, _ = planned(script, source, target, f"ranges={RANGES}")
    assert len(ranges) == RANGES
    words = {"postgresql": "one exported snapshot", "mariadb": "locked", "sqlite": "no write", "sqlserver": "locked"}
    assert words[product] in reason
    # Also rows that were not there when the bounds were looked for.
    more = [(number, "new") for number in (-(2**62), -1, 0, 1, 2**41, 2**62)]
    source.insert("t", more)
    counts = [source.query(f"SELECT COUNT(*) FROM t WHERE {condition}")[0][0] for condition in ranges]
    assert sum(counts) == source.count("t")
    assert min(counts) > source.count("t") / RANGES / 2, f"{counts} are not balanced"
    distinct = " UNION ".join(f"SELECT id FROM t WHERE {condition}" for condition in ranges)
    assert source.query(f"SELECT COUNT(*) FROM ({distinct}) x")[0][0] == source.count("t")


def planned(script: Script, source: Database, target: Database, options: str = "", table: str = "t") -> list[Any]:
    """Ranges, the lane's reason and the error of a dry run."""
    services = {"Source": source.odbc, "Target": target.odbc}
    done = script(PLAN.format(table=table, options=options), services=services)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout)[0])


def test_the_plan_shows_no_text_of_a_key(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("postgresql")
    make(source, "text")
    analyze(source)
    ranges, _, _ = planned(script, source, target, f"ranges={RANGES}")
    assert ranges == ["`name` < '…'", "`name` >= '…' AND `name` < '…'", "`name` >= '…'"]


def test_a_table_is_read_in_one_range_unless_more_are_asked_for(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    make(source, "integer")
    for options in ("", "ranges=1"):
        ranges, reason, _ = planned(script, source, target, options)
        assert ranges == []
        assert "range" not in reason


@pytest.mark.parametrize("product", ["mariadb", "postgresql"])
def test_the_servers_find_ranges_by_their_index(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    columns = "region VARCHAR(9) NOT NULL, id INTEGER NOT NULL, note VARCHAR(9), PRIMARY KEY (region, id)"
    source.execute(f"CREATE TABLE t ({columns})")
    source.insert("t", [("b" if number % 10 else "a", number, "x") for number in range(4000)])
    analyze(source)
    ranges, _, _ = planned(script, source, target, f"ranges={RANGES}")
    assert len(ranges) == RANGES
    if product == "mariadb":
        # The region is text, and not shown; all bounds but the least lie within `b`.
        first, _, last = (condition.replace("'…'", "'b'") for condition in ranges)
        for condition in (first, last):
            (plan,) = source.query(f"EXPLAIN SELECT * FROM t WHERE {condition}".replace("%", "%%"))
            assert plan[3] == "range", plan
    else:
        (plan,) = source.query(f"EXPLAIN (FORMAT JSON) SELECT * FROM t WHERE {ranges[1]}")[0]
        assert plan[0]["Plan"]["Node Type"] == "Tid Range Scan"


@pytest.mark.parametrize("product", SOURCES)
def test_a_condition_of_the_users_own_and_the_ranges_hold_together(
    databases: Databases, copying: Copying, product: str, script: Script
) -> None:
    source, target = databases(product), databases(OTHER[product])
    source.numbered("t", 2000, "n")
    condition = "id > 1990 OR id <= 10 -- the ends"
    code = f"""
        import dray
        report = dray.copy_table("Source", "Target", "t", where={condition!r}, ranges={RANGES})
        print(report.rows, report.ranges)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"20 {RANGES}\n"
    assert [row[0] for row in target.query("SELECT id FROM t ORDER BY id")] == [*range(1, 11), *range(1991, 2001)]


@pytest.mark.parametrize("product", SOURCES)
def test_a_key_that_is_not_copied_parts_the_table_all_the_same(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases(OTHER[product])
    more = " WITHOUT ROWID" if product == "sqlite" else ""
    source.execute(
        f"CREATE TABLE t (a INTEGER NOT NULL, b INTEGER NOT NULL, note {NOTE[product]}, PRIMARY KEY (a, b)){more}"
    )
    source.insert("t", [(number // 10, number % 10, f"n{number}") for number in range(3000)])
    analyze(source)
    code = f"""
        import dray
        copy = dray.Copy("Source", "t", columns=["b", "note"])
        (table,) = dray.copy_tables([copy], target="Target", ranges={RANGES}).tables
        print(table.ranges, table.read_lane_reason)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{RANGES} ")
    assert {"sqlite": 'key ("a", "b")', "postgresql": "ctid", "mariadb": "key (`a`)", "sqlserver": "key ([a])"}[
        product
    ] in done.stdout
    assert content(target) == sorted((f"n{number}", str(number % 10)) for number in range(3000))


@pytest.mark.parametrize(
    ("product", "ddl", "words"),
    [
        ("postgresql", "CREATE VIEW t AS SELECT 1 AS id", "no table of the server's own"),
        ("mariadb", "CREATE TABLE t (id INT)", "no primary key"),
        ("mariadb", "CREATE TABLE t (id INT PRIMARY KEY) ENGINE=MyISAM", "no transactions"),
        ("mariadb", "CREATE TABLE t (id ENUM('a', 'b') PRIMARY KEY)", "`id` of its key"),
        ("sqlite", "CREATE VIEW t AS SELECT 1 AS id", "no table of the file's own"),
    ],
)
def test_what_cannot_be_parted_is_read_in_one_range_and_the_plan_says_why(
    databases: Databases, script: Script, copying: Copying, product: str, ddl: str, words: str
) -> None:
    source, target = databases(product), databases(OTHER[product])
    source.execute(ddl)
    ranges, reason, error = planned(script, source, target, f"ranges={RANGES}")
    assert (ranges, error) == ([], None)
    assert f"in one range: {words}" in reason or words in reason
    assert copying(source, target, "t", ranges=RANGES).error("t") is None


def test_a_query_and_the_driver_s_own_lane_have_no_ranges(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    make(source, "integer")
    _, reason, _ = planned(script, source, target, f"ranges={RANGES}, lanes='odbc'")
    assert "in one range: lane `odbc` reads on one connection" in reason
    code = f"""
        import dray
        copy = dray.Copy("Source", query="SELECT 1 AS x", into="q")
        print(dray.plan_copy(copy, target="Target", ranges={RANGES}).tables[0].read_lane_reason)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.stdout.endswith("in one range: a query has no key\n"), done.stderr


def test_who_may_not_lock_a_table_of_mariadb_reads_it_in_one_range(databases: Databases, copying: Copying) -> None:
    source, target = databases("mariadb"), databases("postgresql")
    rows = make(source, "integer")
    user = f"reader_{source.name}"  # type: ignore[attr-defined]
    source.execute(f"CREATE USER {user} IDENTIFIED BY 'secret'")
    try:
        source.execute(f"GRANT SELECT ON {source.quote(source.name)}.* TO {user}")  # type: ignore[attr-defined]
        given = dict(part.split("=") for part in source.odbc.split(";") if part)
        source.odbc = "".join(f"{n}={v};" for n, v in {**given, "UID": user, "PWD": "secret"}.items())
        copied = copying(source, target, "t", ranges=RANGES)
    finally:
        source.execute(f"DROP USER {user}")
    assert copied.error("t") is None
    assert content(target) == rows
    assert copied.tables["t"]["ranges"] == 1
    assert "in one range: the table cannot be locked" in copied.tables["t"]["read_lane_reason"]


def test_a_writer_of_mariadb_that_does_not_end_is_not_waited_for_long(databases: Databases, copying: Copying) -> None:
    source, target = databases("mariadb"), databases("postgresql")
    rows = make(source, "integer")
    source.execute("BEGIN")
    source.execute("UPDATE t SET note = 'not yet' WHERE id = 1")
    copied = copying(source, target, "t", ranges=RANGES)
    source.execute("ROLLBACK")
    assert copied.error("t") is None
    assert content(target) == rows
    assert copied.tables["t"]["ranges"] == 1
    assert "in one range: the table cannot be locked" in copied.tables["t"]["read_lane_reason"]


@pytest.fixture
def moving(databases: Databases) -> Iterator[Callable[[str], Database]]:
    """`moving(product)`: a database whose table `t` somebody writes to, in transactions that leave the sum at 0."""
    over, threads = threading.Event(), []

    def start(product: str) -> Database:
        database = databases(product)
        note = NOTE[product]
        database.execute(f"CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, amount INTEGER NOT NULL, note {note})")
        database.numbered("numbers", 30_000, "x" * 80)
        database.execute("INSERT INTO t SELECT id, id % 3 - 1, note FROM numbers")
        analyze(database)

        def move() -> None:
            number = 0
            while not over.is_set():
                number += 1
                one, other = number * 7919 % 30_000 + 1, number * 104_729 % 30_000 + 1
                database.execute("BEGIN TRANSACTION" if product == "sqlserver" else "BEGIN")
                # PostgreSQL writes a row anew at another place: the first ranges lose rows to the last one.
                database.execute(f"UPDATE t SET amount = amount + {number} WHERE id = {one}")
                database.execute(f"UPDATE t SET amount = amount - {number} WHERE id = {other}")
                database.execute(f"INSERT INTO t VALUES ({-2 * number}, 5, 'new'), ({100_000 + number}, -5, 'new')")
                database.execute("COMMIT")
                time.sleep(0.001)

        threads.append(threading.Thread(target=move))
        threads[0].start()
        return database

    yield start
    over.set()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("product", ["postgresql", "mariadb", "sqlserver"])
def test_ranges_are_of_one_state_whoever_writes_meanwhile(
    databases: Databases, copying: Copying, moving: Callable[[str], Database], product: str
) -> None:
    source = moving(product)
    for _ in range(3):
        target = databases("sqlite")
        copied = copying(source, target, "t", ranges=RANGES)
        assert copied.error("t") is None
        assert copied.tables["t"]["ranges"] == RANGES, copied.tables["t"]["read_lane_reason"]
        new = "SELECT COUNT(*), COUNT(DISTINCT id) FROM t WHERE note = 'new'"
        (count, distinct), *_ = target.query(new)
        assert count == distinct
        # Babelfish takes no lock for TABLOCK, so that writers come between the beginnings of the readers' transactions.
        if not getattr(source, "is_babelfish", False):
            assert target.query("SELECT SUM(amount) FROM t") == [(0,)]
            assert count % 2 == 0
        assert target.count("t") == 30_000 + count


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_a_file_that_is_written_to_is_read_in_one_state(databases: Databases, copying: Copying, mode: str) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.query(f"PRAGMA journal_mode = {mode}")
    rows = make(source, "integer")
    copied = copying(source, target, "t", ranges=RANGES)
    assert copied.tables["t"]["ranges"] == RANGES, copied.tables["t"]["read_lane_reason"]
    assert content(target) == rows
    # Whoever holds the file's lock lets nobody begin to read.
    source.execute("BEGIN IMMEDIATE")
    source.execute("UPDATE t SET note = 'other'")
    other = databases("postgresql")
    assert copying(source, other, "t", ranges=RANGES).error("t") is None
    source.execute("ROLLBACK")
    assert content(other) == rows


@pytest.mark.parametrize("product", SOURCES)
def test_a_value_that_is_refused_names_its_range(databases: Databases, copying: Copying, product: str) -> None:
    source, target = databases(product), databases(OTHER[product])
    source.numbered("t", 3000, "n")
    source.execute("UPDATE t SET note = 'much too long for it' WHERE id = 2900")
    target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note VARCHAR(9))")
    if OTHER[product] == "sqlite":
        target.execute("DROP TABLE t")
        target.execute("CREATE TABLE t (id INTEGER, square BIGINT, note INTEGER)")
    target.insert("t", [(-1, 0, "1")])
    error = copying(source, target, "t", ranges=RANGES).error("t")
    assert error is not None
    if OTHER[product] != "sqlite":
        assert (error["code"], error["column"], error["key"]) == ("copy.value_refused", "note", "id=2900")
        assert f"counted within range {RANGES} of {RANGES}" in error["message"]
        assert error["row"] < 2900
    assert target.count("t") == 1


@pytest.mark.parametrize("product", SOURCES)
def test_one_file_or_server_is_source_and_target_at_once(databases: Databases, script: Script, product: str) -> None:
    database = databases(product)
    rows = make(database, "integer")
    code = f"""
        import dray
        print(dray.copy_table("Source", "Target", "t", into="copy", ranges={RANGES}).ranges)
    """
    done = script(code, services={"Source": database.odbc, "Target": database.odbc})
    assert done.stdout == f"{RANGES}\n", done.stderr
    assert content(database, "copy") == rows


def test_a_cell_too_long_for_a_part_of_the_memory_is_copied_in_one_range(
    databases: Databases, copying: Copying
) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute("CREATE TABLE t (id int PRIMARY KEY, note text)")
    source.execute(
        "INSERT INTO t SELECT n, repeat('x', CASE n WHEN 3000 THEN 12000000 ELSE 100 END) FROM generate_series(1, 3000) n"
    )
    copied = copying(source, target, "t", ranges=8)
    assert copied.error("t") is None
    assert target.query("SELECT SUM(length(note)) FROM t") == [(12_000_000 + 2999 * 100,)]
    assert copied.tables["t"]["ranges"] == 1
    assert "in one range: a cell is too long" in copied.tables["t"]["read_lane_reason"]


def test_a_lost_reader_begins_the_whole_table_again(databases: Databases, copying: Copying) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.numbered("t", 300_000, "x" * 60)
    process = copying.start(source, target, "t", ranges=RANGES)
    reading = "FROM pg_stat_activity WHERE datname = current_database() AND state = 'active' AND query LIKE 'COPY%'"
    deadline = time.monotonic() + 60
    while source.query(f"SELECT COUNT(*) {reading}") != [(RANGES,)]:
        assert process.poll() is None and time.monotonic() < deadline
    source.query(f"SELECT pg_terminate_backend(pid) {reading} LIMIT 1")
    copied = copying.finish(process)
    assert copied.error("t") is None
    (retry,) = copied.tables["t"]["retries"]
    assert (retry["side"], retry["code"]) == ("source", "database.connection_lost"), retry
    assert copied.tables["t"]["ranges"] == RANGES
    assert target.query("SELECT COUNT(*), SUM(id) FROM t") == [(300_000, 300_000 * 300_001 // 2)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("product", SOURCES)
def test_a_copy_in_ranges_stops_within_two_seconds(
    databases: Databases,
    start: Callable[..., subprocess.Popen[str]],
    project: Callable[..., Path],
    task: Task,
    product: str,
) -> None:
    source, target = databases(product), databases(OTHER[product])
    source.numbered("t", 400_000, "x" * 60)
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    code = """
import dray
run = dray.start_copy([dray.Copy("Source", "t")], target="Target", ranges=3)
while run.progress().rows == 0:
    pass
print("moving", flush=True)
run.wait()
print("copied", flush=True)
"""
    process = start("run", project({"main.py": code}), "main.py", cwd=task.folder, env=task.env)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == "moving\n", process.communicate()[1]
    process.send_signal(signal.SIGTERM)
    told = time.monotonic()
    stdout, stderr = process.communicate(timeout=60)
    assert time.monotonic() - told < 2, stderr
    assert "copied" not in stdout
    assert process.returncode == 143
    assert "t" not in target.tables()
