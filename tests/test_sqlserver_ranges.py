"""What is particular about key ranges of SQL Server: every type that a key may have, both drivers, and what a reader does with
the table's lock and its own session. What all products have in common is in test_copy_ranges.py.

What the readers say to the server is heard by a listener that speaks its protocol. The rest runs where DRAY_TEST_MSSQL leads to
a database that may be emptied. Babelfish takes no lock for TABLOCK; what depends on one is asked of SQL Server alone, and the
test says so.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterator
from decimal import Decimal
from typing import Any, Callable

import pytest
from conftest import Script
from copying import Copying
from databases import Databases, Sqlserver, microsoft_driver
from tds_server import Column, TdsServer, done, error, tds_server, texts
from test_copy_ranges import RANGES

# Names that sort one way by their code points and another by what they are.
WORDS = ["zebra", "Åsa", "äther", "a-c", "ab", "Zoë", "it's", "back\\\nslash", "é"]

ROWS = 400


def days(number: int) -> datetime.datetime:
    """Points in time some hours apart, on both sides of 1900."""
    return datetime.datetime(1890, 1, 1) + datetime.timedelta(hours=301 * number)


def zoned(number: int) -> datetime.datetime:
    """The same in some zone."""
    return days(number).replace(tzinfo=datetime.timezone(datetime.timedelta(hours=number % 24 - 12)))


# By the names of their tables: what is declared, and what is in it.
KEYS: dict[str, tuple[str, list[Any]]] = {
    "tinyint_": ("tinyint", list(range(256))),
    "smallint_": ("smallint", list(range(-200, 200))),
    # Beyond an `int`, where plain digits are a decimal to the server.
    "bigint_": ("bigint", [number * 2**53 - 2**60 for number in range(ROWS)]),
    "decimal_": ("decimal(38,10)", [Decimal(number * 10**25).scaleb(-10) for number in range(-200, 200)]),
    "money_": ("money", [Decimal(number).scaleb(-4) for number in range(-200, 200)]),
    "float_": ("float", [number / 7 for number in range(-200, 200)]),
    "real_": ("real", [number / 8 for number in range(-200, 200)]),
    "date_": ("date", [days(number).date() for number in range(0, 8 * ROWS, 8)]),
    "time_": (
        "time(6)",
        [(datetime.datetime.min + datetime.timedelta(seconds=7.000001 * n)).time() for n in range(ROWS)],
    ),
    "datetime_": (
        "datetime",
        [days(number).replace(microsecond=number % 300 * 3_000 + 3_000) for number in range(ROWS)],
    ),
    "smalldatetime_": ("smalldatetime", [days(number + 600) for number in range(ROWS)]),
    "datetime2_": ("datetime2(6)", [days(number).replace(microsecond=number) for number in range(ROWS)]),
    "datetimeoffset_": ("datetimeoffset(6)", [zoned(number) for number in range(ROWS)]),
    "uuid_": ("uniqueidentifier", [uuid.uuid5(uuid.NAMESPACE_OID, str(number)) for number in range(ROWS)]),
    "binary_": ("binary(4)", [(number * 7_091_999).to_bytes(4, "big") for number in range(ROWS)]),
    # Ordered otherwise than the same text in UTF-16 (`a-c` and `ab`).
    "varchar_": (
        "varchar(40) COLLATE SQL_Latin1_General_CP1_CI_AS",
        [f"{word}{n:02}" for word in WORDS for n in range(40)],
    ),
    "char_": ("char(20)", [f"{word}{n:02}" for word in WORDS for n in range(40)]),
    "nvarchar_": ("nvarchar(40)", [f"{word}{n:02}" for word in [*WORDS, "日本", "🔑"] for n in range(40)]),
}


@pytest.fixture
def listener() -> Iterator[TdsServer]:
    """One that has a table `t` of three texts in a key, in a database that allows SNAPSHOT."""
    with tds_server() as made:
        made.columns.append(Column("name", "nvarchar(20)", False, is_key=True))
        made.answers["is_read_committed_snapshot_on"] = [["1", "1", "160", "5", "0"]]
        made.answers["COUNT_BIG(*)"] = [["3"]]
        bounds = iter([texts([["h"]]), texts([["q"]])])
        made.answers["FETCH NEXT 1 ROW ONLY"] = lambda: next(bounds)
        made.answers["SELECT [name] FROM [t] WHERE [name] < "] = [["a"]]
        made.answers["SELECT [name] FROM [t] WHERE [name] >= 'h'"] = [["h"]]
        made.answers["SELECT [name] FROM [t] WHERE [name] >= 'q'"] = [["z"]]
        made.answers["SELECT [name] FROM [t]"] = [["a"], ["h"], ["z"]]
        yield made


@pytest.fixture
def heard(listener: TdsServer, databases: Databases, script: Script) -> Callable[[], dict[str, Any]]:
    """`heard()` copies `t` from the listener in ranges, and gives the table's report; all rows have come, or none."""
    target = databases("sqlite")

    def copy() -> dict[str, Any]:
        code = f"""
            import dataclasses, dray, json
            try:
                report = dray.copy_table("Source", "Target", "t", ranges={RANGES}, verify="none", patience=0)
            except dray.CopyError as failed:
                (report,) = failed.report.tables
            print(json.dumps(dataclasses.asdict(report)))
        """
        done = script(
            code,
            services={"Source": listener.odbc, "Target": target.odbc},
            env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={microsoft_driver()}"},
        )
        assert done.returncode == 0, done.stderr
        report: dict[str, Any] = json.loads(done.stdout)
        if report["error"] is None:
            assert target.query("SELECT name FROM t ORDER BY name") == [("a",), ("h",), ("z",)]
        return report

    return copy


def test_the_readers_begin_while_the_table_is_locked_and_read_when_it_is_free_again(
    listener: TdsServer, heard: Callable[[], dict[str, Any]]
) -> None:
    ended: list[int] = []

    def note(answer: bytes) -> Callable[[], bytes]:
        def given() -> bytes:
            ended.append(listener.transactions.count("rollback"))
            return answer

        return given

    listener.answers = {
        "SELECT TOP (1) 1 FROM [t]": note(texts([["1"]])),
        "SET LOCK_TIMEOUT -1": note(done(0)),
        **listener.answers,
    }
    assert heard()["ranges"] == RANGES
    first = next(place for place, sql in enumerate(listener.statements) if "SNAPSHOT" in sql and sql.startswith("SET"))
    said = [sql for sql in listener.statements[first:] if not sql.startswith("SET TEXTSIZE")]
    assert said == [
        *["SET TRANSACTION ISOLATION LEVEL SNAPSHOT"] * RANGES,
        *["SET LOCK_TIMEOUT 2000"] * (RANGES + 1),
        "SELECT TOP (1) 1 FROM [t] WITH (TABLOCK, HOLDLOCK)",
        *["SELECT TOP (1) 1 FROM [t]"] * RANGES,
        *["SET LOCK_TIMEOUT -1"] * RANGES,
        "SELECT [name] FROM [t] WHERE [name] < 'h'",
        "SELECT [name] FROM [t] WHERE [name] >= 'h' AND [name] < 'q'",
        "SELECT [name] FROM [t] WHERE [name] >= 'q'",
        *["SET TRANSACTION ISOLATION LEVEL READ COMMITTED"] * RANGES,
    ]
    # The transaction that has the lock is the only one that ends in between, behind the last reader's beginning.
    assert [count - ended[0] for count in ended] == [0] * (RANGES + 1) + [1] * RANGES


def test_a_table_that_cannot_be_locked_is_read_in_one_range_as_without_ranges(
    listener: TdsServer, heard: Callable[[], dict[str, Any]]
) -> None:
    listener.answers = {"TABLOCK": error(1222, "Lock request time out period exceeded."), **listener.answers}
    report = heard()
    assert report["ranges"] == 1
    assert "in one range: the table cannot be locked: " in report["read_lane_reason"]
    assert "native 1222" in report["read_lane_reason"]
    last = [sql for sql in listener.statements if sql.startswith("SET ")][-2 * RANGES :]
    assert last == ["SET TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET LOCK_TIMEOUT -1"] * RANGES
    assert listener.statements[-1] == "SELECT [name] FROM [t]"


@pytest.mark.parametrize(
    ("database", "optimised", "words"),
    [
        (["1", "0", "160", "3", "0"], "0", "the database does not allow SNAPSHOT isolation (ALLOW_SNAPSHOT_ISOLATION)"),
        (["0", "0", "160", "3", "0"], "0", "the database does not allow SNAPSHOT isolation (ALLOW_SNAPSHOT_ISOLATION)"),
        (["1", "1", "160", "3", "1"], "1", "it is memory-optimised, and cannot be locked"),
    ],
)
def test_without_snapshot_a_table_is_read_in_one_range_and_the_report_says_why(
    listener: TdsServer, heard: Callable[[], dict[str, Any]], database: list[str], optimised: str, words: str
) -> None:
    listener.answers = {
        "is_read_committed_snapshot_on": [database],
        "'TableIsMemoryOptimized') AS nvarchar(11))": [[optimised]],
        "SELECT [name] FROM (SELECT * FROM [t] WITH (SNAPSHOT)": [["a"], ["h"], ["z"]],
        **{words: given for words, given in listener.answers.items() if words != "is_read_committed_snapshot_on"},
    }
    report = heard()
    assert report["ranges"] == 1
    assert f"in one range: {words}" in report["read_lane_reason"]
    assert not any("TABLOCK" in sql for sql in listener.statements)


def test_a_reader_that_may_not_read_under_snapshot_never_reads_another_state_than_the_others(
    listener: TdsServer, heard: Callable[[], dict[str, Any]]
) -> None:
    refused = error(3952, "Snapshot isolation transaction failed accessing database 'other'.")
    listener.answers["SELECT [name] FROM [t] WHERE [name] >= 'q'"] = refused
    assert heard()["error"]["native"] == 3952


@pytest.fixture
def server(databases: Databases) -> Sqlserver:
    """The empty database."""
    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    return made


@pytest.fixture
def keyed(server: Sqlserver) -> Sqlserver:
    """The database with a table for each type of key, with a note that numbers its rows."""
    for table, (declared, values) in KEYS.items():
        server.execute(f"CREATE TABLE {table} (k {declared} NOT NULL PRIMARY KEY, note int NOT NULL)")
        rows = ", ".join(f"({literal(value)}, {number})" for number, value in enumerate(values))
        server.execute(f"INSERT INTO {table} VALUES {rows}", *(value for value in values if isinstance(value, str)))
    return server


def literal(value: Any) -> str:
    """A value as it stands in a statement; texts are handed over, since the end of a line may change them."""
    if isinstance(value, bytes):
        return f"0x{value.hex()}"
    if isinstance(value, datetime.datetime):
        return f"CAST('{value.isoformat()}' AS {'datetime2' if value.tzinfo is None else 'datetimeoffset'})"
    if isinstance(value, (datetime.date, datetime.time)):
        return f"CAST('{value.isoformat()}' AS {type(value).__name__})"
    return "?" if isinstance(value, str) else f"'{value}'" if isinstance(value, uuid.UUID) else str(value)


@pytest.mark.parametrize("driver", ["microsoft", "freetds"])
def test_a_key_of_each_type_parts_a_table_and_no_row_comes_twice(
    databases: Databases, keyed: Sqlserver, copying: Copying, driver: str
) -> None:
    target = databases("postgresql")
    if driver == "freetds":
        keyed.odbc = keyed.freetds
    # Without the keys, where nothing but the copy itself keeps a row from being there twice.
    copied = copying(keyed, target, list(KEYS), ranges=RANGES, overrides={"*": {"columns": ["note"]}})
    for table, (_, values) in KEYS.items():
        assert copied.error(table) is None
        told = copied.tables[table]
        assert told["ranges"] == RANGES, told
        assert f"in {RANGES} ranges by key ([k]), of one state" in told["read_lane_reason"]
        numbers = [number for (number,) in target.query(f"SELECT note FROM {table} ORDER BY note")]
        assert numbers == list(range(len(values))), table


def test_ranges_by_a_key_of_each_type_are_balanced(databases: Databases, keyed: Sqlserver, script: Script) -> None:
    target = databases("sqlite")
    code = f"""
        import dray, json
        plan = dray.plan_copy(dray.Copy("Source", {list(KEYS)}), target="Target", ranges={RANGES})
        print(json.dumps({{table.table: table.ranges for table in plan.tables}}))
    """
    done = script(code, services={"Source": keyed.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    for table, ranges in json.loads(done.stdout).items():
        if "'…'" in ranges[0]:
            continue  # of text and bytes the plan shows no values
        counts = [keyed.query(f"SELECT COUNT(*) FROM {table} WHERE {condition}")[0][0] for condition in ranges]
        rows = len(KEYS[table][1])
        assert sum(counts) == rows
        assert len(counts) == RANGES
        assert min(counts) > rows / RANGES / 2, f"{table}: {counts} are not balanced"


@pytest.mark.parametrize(
    ("ddl", "words"),
    [
        ("CREATE VIEW t AS SELECT 1 AS id", "it has no primary key"),
        ("CREATE TABLE t (id int)", "it has no primary key"),
        ("CREATE TABLE t (id sql_variant PRIMARY KEY)", "column `id` of its key is `sql_variant`"),
    ],
)
def test_what_cannot_be_parted_is_read_in_one_range_and_the_plan_says_why(
    databases: Databases, server: Sqlserver, script: Script, ddl: str, words: str
) -> None:
    target = databases("postgresql")
    server.execute(ddl)
    columns = "columns=['x']" if "variant" in ddl else ""
    if columns:
        server.execute("ALTER TABLE t ADD x int")
    code = f"""
        import dray
        copy = dray.Copy("Source", "t", {columns})
        print(dray.plan_copy(copy, target="Target", ranges={RANGES}).tables[0].read_lane_reason)
    """
    done = script(code, services={"Source": server.odbc, "Target": target.odbc})
    assert f"in one range: {words}" in done.stdout, done.stderr


def test_who_writes_to_the_table_all_the_time_is_not_waited_for_long(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    target = databases("postgresql")
    server.numbered("t", 3000, "n")
    server.execute("BEGIN TRANSACTION")
    server.execute("UPDATE t SET note = 'not yet' WHERE id = 1")
    copied = copying(server, target, "t", ranges=RANGES)
    server.execute("ROLLBACK")
    assert copied.error("t") is None
    assert target.query("SELECT COUNT(*), COUNT(DISTINCT note), MIN(note) FROM t") == [(3000, 3000, "n1")]
    if not server.is_babelfish:
        assert copied.tables["t"]["ranges"] == 1
        assert "in one range: the table cannot be locked" in copied.tables["t"]["read_lane_reason"]


def test_the_connections_of_ranges_serve_the_tables_that_follow(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    target = databases("postgresql")
    server.numbered("a", 3000, "a")
    server.numbered("b", 3000, "b")
    server.execute("CREATE TABLE c (id int PRIMARY KEY)")
    server.execute("CREATE VIEW d AS SELECT id FROM a")
    copied = copying(server, target, ["a", "b", "c", "d"], ranges=RANGES, parallel=1)
    assert {name: (table["ranges"], table["rows"]) for name, table in copied.tables.items()} == {
        "a": (RANGES, 3000),
        "b": (RANGES, 3000),
        "c": (1, 0),
        "d": (1, 3000),
    }
