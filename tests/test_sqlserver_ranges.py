"""What is particular about key ranges of SQL Server: every type that a key may have, both drivers, and what a reader does with
the table's lock and its own session. What all products have in common is in test_copy_ranges.py.

Runs where DRAY_TEST_MSSQL leads to a database that may be emptied. Babelfish takes no lock for TABLOCK; what depends on one is
asked of SQL Server alone, and the test says so.
"""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import Databases, Sqlserver
from test_copy_ranges import RANGES, planned

# Names that sort one way by their code points and another by what they are.
WORDS = ["zebra", "Åsa", "äther", "a-c", "ab", "Zoë", "it's", "back\\\nslash", "é"]

ROWS = 600


def days(number: int) -> datetime.datetime:
    """Points in time some hours apart, on both sides of 1900."""
    return datetime.datetime(1890, 1, 1) + datetime.timedelta(hours=301 * number)


KEYS: dict[str, list[Any]] = {
    "tinyint": list(range(256)),
    "smallint": list(range(-300, 300)),
    # Beyond an `int`, where plain digits are a decimal to the server.
    "bigint": [number * 2**52 - 2**60 for number in range(ROWS)],
    "decimal(38,10)": [Decimal(number * 10**25).scaleb(-10) for number in range(-300, 300)],
    "money": [Decimal(number).scaleb(-4) for number in range(-300, 300)],
    "float": [number / 7 for number in range(-300, 300)],
    "real": [number / 8 for number in range(-300, 300)],
    "date": [days(number).date() for number in range(0, 8 * ROWS, 8)],
    "time(6)": [(datetime.datetime.min + datetime.timedelta(seconds=7.000001 * n)).time() for n in range(ROWS)],
    "datetime": [days(number).replace(microsecond=number % 300 * 3_000 + 3_000) for number in range(ROWS)],
    "smalldatetime": [days(number + 600) for number in range(ROWS)],
    "datetime2(6)": [days(number).replace(microsecond=number) for number in range(ROWS)],
    "datetimeoffset(6)": [
        days(number).replace(tzinfo=datetime.timezone(datetime.timedelta(hours=number % 24 - 12)))
        for number in range(ROWS)
    ],
    "uniqueidentifier": [str(uuid.uuid5(uuid.NAMESPACE_OID, str(number))) for number in range(ROWS)],
    "binary(4)": [(number * 7_919_999).to_bytes(4, "big") for number in range(ROWS)],
    # Ordered otherwise than the same text in UTF-16 (`a-c` and `ab`).
    "varchar(40) COLLATE SQL_Latin1_General_CP1_CI_AS": [f"{word}{n:02}" for word in WORDS for n in range(60)],
    "char(20)": [f"{word}{n:02}" for word in WORDS for n in range(60)],
    "nvarchar(40)": [f"{word}{n:02}" for word in [*WORDS, "日本", "🔑"] for n in range(60)],
}


@pytest.fixture
def server(databases: Databases) -> Sqlserver:
    """The empty database."""
    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    return made


def make(server: Sqlserver, declared: str) -> None:
    """A table `t` whose key is of this type, with a note that numbers its rows."""
    server.execute(f"CREATE TABLE t (k {declared} NOT NULL PRIMARY KEY, note int NOT NULL)")
    server.insert("t", [(value, number) for number, value in enumerate(KEYS[declared])])


def is_babelfish(server: Sqlserver) -> bool:
    """Whether the server only speaks the protocol."""
    return "Babelfish" in server.query("SELECT @@VERSION")[0][0]


@pytest.mark.parametrize("driver", ["microsoft", "freetds"])
@pytest.mark.parametrize("declared", KEYS)
def test_a_key_of_each_type_parts_a_table_and_no_row_comes_twice(
    databases: Databases, server: Sqlserver, copying: Copying, declared: str, driver: str
) -> None:
    target = databases("postgresql")
    make(server, declared)
    if driver == "freetds":
        server.odbc = server.freetds
    copied = copying(server, target, "t", ranges=RANGES, into="copy")
    assert copied.error("t") is None
    table = copied.tables["t"]
    assert table["ranges"] == RANGES, table["read_lane_reason"]
    assert f"in {RANGES} ranges by key ([k]), of one state" in table["read_lane_reason"]
    numbers = [number for (number,) in target.query("SELECT note FROM copy ORDER BY note")]
    assert numbers == list(range(len(KEYS[declared])))


@pytest.mark.parametrize("declared", KEYS)
def test_ranges_by_a_key_of_each_type_are_balanced(
    databases: Databases, server: Sqlserver, script: Script, declared: str
) -> None:
    target = databases("sqlite")
    make(server, declared)
    ranges, reason, _ = planned(script, server, target, f"ranges={RANGES}")
    assert len(ranges) == RANGES, reason
    if "'…'" in ranges[0]:
        return  # of text the plan shows no values
    counts = [server.query(f"SELECT COUNT(*) FROM t WHERE {condition}")[0][0] for condition in ranges]
    rows = len(KEYS[declared])
    assert sum(counts) == rows
    assert min(counts) > rows / RANGES / 2, f"{counts} are not balanced"


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
    if not is_babelfish(server):
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
