"""Bulk copy into SQL Server through the functions of Microsoft's driver: the real driver, and what it sends to a listener
that reads its protocol.
"""

from __future__ import annotations

import ctypes
import json
import re
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import Databases, Sqlserver, microsoft_driver
from tds_server import OF_DATABASE, Column, TdsServer, done, error, table, tds_server, texts

ROOT = Path(__file__).resolve().parent.parent

COPY = """
import dray, json
{before}
try:
    table = dray.copy_table("Source", "Target", "t"{options})
except dray.CopyError as failed:
    table = failed.report.tables[0]
print(json.dumps({{"rows": table.rows, "lane": table.write_lane, "reason": table.write_lane_reason, "error": table.error}}))
"""


@pytest.fixture(scope="module")
def driver() -> Path:
    """The driver's file in the package `mssql-python-odbc`."""
    return microsoft_driver()


@pytest.fixture
def server() -> Iterator[TdsServer]:
    with tds_server() as made:
        yield made


@pytest.fixture
def copied(script: Script, server: TdsServer, databases: Databases, driver: Path) -> Any:
    """`copied(columns, rows)` copies a table of SQLite to the listener, and gives what the copy reports."""

    def copy(
        columns: dict[str, str], rows: list[tuple[Any, ...]], before: str = "", options: str = ""
    ) -> dict[str, Any]:
        source = databases("sqlite")
        source.fill("t", columns, rows)
        # Other driver managers know no driver of this name.
        odbc = server.odbc.replace("{ODBC Driver 18 for SQL Server}", str(driver))
        ran = script(
            COPY.format(before=before.format(odbc=odbc), options=options),
            services={"Source": source.odbc, "Target": server.odbc},
            env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={driver}", "DRAY_PYTHON": sys.executable},
        )
        assert ran.returncode == 0, ran.stderr
        report: dict[str, Any] = json.loads(ran.stdout)
        return report

    return copy


def test_the_driver_has_every_function_that_is_called(driver: Path) -> None:
    source = (ROOT / "src" / "database" / "sqlserver" / "bcp.rs").read_text("utf-8")
    names = re.findall(r"^    (bcp_\w+)\(", source, re.MULTILINE)
    library = ctypes.CDLL(str(driver))
    assert len(names) > 5
    assert [name for name in names if not hasattr(library, name)] == []


VALUES = {
    "id": "INTEGER NOT NULL PRIMARY KEY",
    "flag": "BOOLEAN",
    "ratio": "DOUBLE",
    "amount": "DECIMAL(20,5)",
    "day": "DATE",
    "clock": "TIME",
    "moment": "DATETIME",
    "code": "VARCHAR(20)",
    "note": "TEXT",
    "data": "BLOB",
}


def test_values_of_every_kind_are_sent_as_they_are(copied: Any, server: TdsServer) -> None:
    long_text = "é😀" * 60_000
    moments = ["0001-01-01 00:00:00", "9999-12-31 23:59:59.123456", "2024-02-29 12:34:56.500000"]
    rows: list[tuple[Any, ...]] = [
        (1, *[None] * 9),
        (2, 1, 0.1, "-1234567890.12345", "0001-01-01", "00:00:00", moments[0], "", "", b""),
        (3, 0, -1.5e300, "0.00001", "9999-12-31", "09:09:09.000099", moments[1], "é日🎉" + "x" * 16, "a\0b", b"\0\xff"),
        (-(2**63), None, 0.0, "7", None, None, moments[2], None, long_text, b"\x01" * 200_000),
        (5, None, None, None, None, None, None, "after", None, b"after"),
    ]
    report = copied(VALUES, rows)
    assert (report["error"], report["rows"], report["lane"]) == (None, 5, "bcp")
    read = [Decimal, date.fromisoformat, time_of_day.fromisoformat, datetime.fromisoformat]
    expected = [
        (*row[:3], *[cell if cell is None else to(cell) for to, cell in zip(read, row[3:7])], *row[7:]) for row in rows
    ]
    assert server.rows == sorted(expected, key=lambda row: row[0])  # as SQLite reads its key
    assert server.transactions[:2] == ["begin", "commit"]


def test_a_decimal_of_as_many_digits_as_there_are_is_sent_whole_beside_others(copied: Any, server: TdsServer) -> None:
    # In a table in which Babelfish does not get to the end of the first one, see test_sqlserver_copies.py.
    there(server, id="int", a="bit", b="smallint", c="decimal(38,10)", d="decimal(19,4)", e="decimal(10,4)", f="real")
    columns = {"a": "BOOLEAN", "b": "SMALLINT", **dict.fromkeys("cde", "DECIMAL_TEXT(38,10)"), "f": "FLOAT"}
    rows = [
        (1, 1, 255, "-1234567890123456789012345678.0123456789", "922337203685477.5807", "-214748.3648", 0.5),
        (2, 0, -1, "9" * 28 + "." + "9" * 10, "-922337203685477.5808", "0", -0.5),
        (3, *[None] * 6),
    ]
    options = ', mode="append", narrower="check", schema="columns"'
    report = copied({"id": "INTEGER NOT NULL PRIMARY KEY", **columns}, rows, options=options)
    assert (report["error"], report["lane"]) == (None, "bcp"), report
    exact = [tuple(Decimal(cell) if isinstance(cell, str) else cell for cell in row) for row in rows]
    assert server.rows == exact


def test_constraints_are_checked_and_a_new_table_is_locked(copied: Any, server: TdsServer) -> None:
    copied({"id": "INTEGER NOT NULL PRIMARY KEY", "name": "VARCHAR(5)"}, [(1, None)])
    assert server.insert_bulk.startswith("insert bulk ")
    hints = re.search(r"with\((.*)\)$", server.insert_bulk)
    assert hints is not None
    assert {hint.strip() for hint in hints[1].split(",")} == {"CHECK_CONSTRAINTS", "TABLOCK"}


def test_rows_go_into_another_database_by_a_name_of_three_parts(copied: Any, server: TdsServer) -> None:
    server.answers["HAS_DBACCESS"] = [["other", "0", "1", "user"]]
    report = copied(
        {"id": "INTEGER NOT NULL PRIMARY KEY", "name": "VARCHAR(5)"}, [(1, None)], options=', into="Other.dbo.t"'
    )
    assert (report["error"], report["rows"], report["lane"]) == (None, 1, "bcp")
    assert server.rows == [(1, None)]
    assert server.insert_bulk.startswith("insert bulk [other].[dbo].[t](")
    # It is known to be new though it was made within the other database.
    assert "TABLOCK" in server.insert_bulk
    (created,) = [sql for sql in server.statements if "CREATE TABLE [dbo].[t]" in sql]
    assert created.startswith("EXEC (N'USE [other]; CREATE TABLE [dbo].[t] (")
    (locked,) = [sql for sql in server.statements if "sp_getapplock" in sql]
    assert locked.startswith("EXEC (N'USE [other]; ")


CHECKED = "SELECT name FROM sys.check_constraints"
SKIPPED = ', constraints="skip"'


def test_constraints_are_not_checked_where_the_call_asks_for_it(copied: Any, server: TdsServer) -> None:
    there(server, id="int", name="varchar(5)")
    server.answers[CHECKED] = [["positive"], ["of_parent"]]
    report = copied({"id": "INTEGER", "name": "TEXT"}, [(1, None)], options=SKIPPED)
    assert (report["error"], report["lane"]) == (None, "bcp")
    assert "; unchecked by `positive`, `of_parent`, which the server trusts no more" in report["reason"]
    assert "CHECK_CONSTRAINTS" not in server.insert_bulk
    assert not any("NOCHECK" in sql for sql in server.statements)


def test_constraints_of_a_table_that_the_copy_makes_are_checked_in_any_case(copied: Any, server: TdsServer) -> None:
    report = copied({"id": "INTEGER NOT NULL PRIMARY KEY", "name": "TEXT"}, [(1, None)], options=SKIPPED)
    assert (report["error"], report["lane"]) == (None, "bcp")
    assert "unchecked" not in report["reason"]
    assert "CHECK_CONSTRAINTS" in server.insert_bulk


def test_where_rows_are_merged_constraints_are_off_for_the_statements_that_do(copied: Any, server: TdsServer) -> None:
    there(server, id="int", name="varchar(5)")
    server.answers[CHECKED] = [["positive"]]
    server.answers["SELECT COUNT(*) FROM [t__dray"] = [["0"]]
    server.answers["SELECT COUNT(*) FROM (SELECT 1"] = [["0"]]
    server.answers["SELECT COUNT_BIG(*)"] = [["1"]]
    options = f'{SKIPPED}, mode="upsert", key="id", after="EXEC after_rows"'
    report = copied({"id": "INTEGER", "name": "TEXT"}, [(1, "a")], options=options)
    assert (report["error"], report["lane"]) == (None, "bcp")
    told = ("ALTER TABLE", "UPDATE", "INSERT INTO [t]", "EXEC after")
    assert [sql.split(" SET ")[0].split(" (")[0] for sql in server.statements if sql.startswith(told)] == [
        "ALTER TABLE [t] NOCHECK CONSTRAINT [positive]",
        "UPDATE dray_old",
        "INSERT INTO [t]",
        "ALTER TABLE [t] WITH NOCHECK CHECK CONSTRAINT [positive]",
        "EXEC after_rows",
    ]


def test_without_a_bulk_copy_constraints_are_off_around_the_rows(copied: Any, server: TdsServer) -> None:
    there(server, id="int", name="varchar(5)")
    server.answers[CHECKED] = [["positive"]]
    options = f'{SKIPPED}, lanes="odbc", mode="truncate", before="EXEC before_rows", after="EXEC after_rows"'
    report = copied({"id": "INTEGER", "name": "TEXT"}, [(1, "a")], options=options)
    assert (report["error"], report["lane"]) == (None, "odbc")
    told = [
        sql
        for sql in server.statements
        if sql.startswith(("ALTER", "EXEC before", "EXEC after")) or "DELETE FROM" in sql
    ]
    assert "TRUNCATE TABLE [t]" in told.pop(1)
    assert told == [
        "EXEC before_rows",
        "ALTER TABLE [t] NOCHECK CONSTRAINT [positive]",
        "ALTER TABLE [t] WITH NOCHECK CHECK CONSTRAINT [positive]",
        "EXEC after_rows",
    ]


def test_a_uuid_keeps_its_value_and_not_the_order_of_its_bytes(copied: Any, server: TdsServer) -> None:
    wanted = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    report = copied({"id": "UUID NOT NULL PRIMARY KEY", "n": "INTEGER"}, [(str(wanted), 1)])
    assert report["error"] is None
    assert [str(row[0]) for row in server.rows] == [str(wanted)]


def there(server: TdsServer, **columns: str) -> None:
    """A table that the target has already; a type may be followed by a collation."""
    for name, declared in columns.items():
        kind, _, collation = declared.partition(" ")
        server.columns.append(Column(name, kind, True, collation or OF_DATABASE))


def test_the_older_types_of_a_table_that_is_there_are_sent_as_they_are_kept(copied: Any, server: TdsServer) -> None:
    there(server, id="int", a="char(5)", b="varchar(9)", c="text", d="ntext", e="image", f="varchar(max)", g="money")
    there(server, h="smallmoney", i="datetime", j="smalldatetime")
    texts = dict.fromkeys("abcd", "TEXT")
    moments = {"i": "DATETIME", "j": "DATETIME"}
    long_text, long_bytes = "é" * 70_000, b"\0\xff" * 50_000
    rows: list[tuple[Any, ...]] = [
        (1, *[None] * 10),
        (2, "é    ", "€", "", "", b"", "", "-99999999999.9999", "-214748.3648", "1753-01-01 00:00:00",
         "1900-01-01 00:00:00"),
        (3, None, None, None, "x", None, "y", *[None] * 4),
        (4, None, None, "x", None, b"x", None, *[None] * 4),
        (5, "abcde", "Größe", long_text, "日🎉" * 9_000, long_bytes, long_text, "0.0001", "214748.3647",
         "9999-12-31 23:59:59.997", "2079-06-06 23:59:00"),
    ]  # fmt: skip
    columns = {
        "id": "INTEGER",
        **texts,
        "e": "BLOB",
        "f": "TEXT",
        "g": "DECIMAL(19,4)",
        "h": "DECIMAL(10,4)",
        **moments,
    }
    report = copied(columns, rows, options=", mode='append'")
    assert (report["error"], report["rows"], report["lane"]) == (None, 5, "bcp"), report
    read = [Decimal, Decimal, datetime.fromisoformat, datetime.fromisoformat]
    expected = [(*row[:7], *[cell if cell is None else to(cell) for to, cell in zip(read, row[7:])]) for row in rows]
    assert server.rows == expected


def test_an_old_long_column_behind_a_max_one_is_loaded_otherwise(copied: Any, server: TdsServer) -> None:
    # Seen with 18.6: the driver sends a byte of its own for the `text`, or behind its NULL.
    there(server, a="varchar(max)", b="text")
    report = copied({"a": "TEXT", "b": "TEXT"}, [("x", None)], options=", mode='append'")
    assert (report["error"], report["lane"]) == (None, "odbc"), report
    assert "`b` is of type `text` and stands behind `a`" in report["reason"]


def test_a_table_that_drops_rows_of_a_key_in_silence_is_refused_before_the_load(copied: Any, server: TdsServer) -> None:
    there(server, id="int")
    server.answers["i.ignore_dup_key = 1"] = [["0", None, None, None, None, "by id"]]
    report = copied({"id": "INTEGER"}, [(1,)], options=", mode='append'")
    assert report["error"]["code"] == "copy.drops_rows", report
    assert "`by id` has IGNORE_DUP_KEY" in report["error"]["message"]
    assert server.rows == []


def test_text_of_another_collation_than_its_databases_goes_in_its_own_code_page(copied: Any, server: TdsServer) -> None:
    there(server, id="int", a="varchar(9) Lithuanian_CI_AS", b="text Lithuanian_CI_AS", c="text")
    columns = {"id": "INTEGER", "a": "TEXT", "b": "TEXT", "c": "TEXT"}
    report = copied(columns, [(1, "Øß", "Øß", "Øß")], options=", mode='append'")
    assert (report["error"], report["lane"]) == (None, "bcp"), report
    assert server.rows == [(1, "Øß", "Øß", "Øß")]


def test_what_the_server_refuses_is_reported_and_rolled_back(copied: Any, server: TdsServer) -> None:
    server.refusal = (2627, "Violation of PRIMARY KEY constraint 'pk'. Cannot insert duplicate key in object 't'.")
    report = copied({"id": "INTEGER NOT NULL PRIMARY KEY", "n": "INTEGER"}, [(1, 1)])
    assert (report["error"]["native"], report["error"]["code"]) == (2627, "database.constraint")
    assert "commit" not in server.transactions
    assert "rollback" in server.transactions


NOT_ALLOWED = (
    3952,
    "Snapshot isolation transaction failed accessing database 'other' because snapshot isolation is not allowed in this "
    "database. Use ALTER DATABASE to allow snapshot isolation.",
)
REMOTE = (7420, 'Remote access is not supported for transaction isolation level "SNAPSHOT".')


@pytest.mark.parametrize(
    ("given", "number"),
    [
        (error(*NOT_ALLOWED), 3952),
        # The columns are known before the server gets to the rows.
        (table(["nvarchar(20)"], [], error(*NOT_ALLOWED)), 3952),
        (error(*REMOTE), 7420),
    ],
)
def test_what_may_not_be_read_under_snapshot_is_read_under_read_committed_and_said_to_be(
    script: Script, server: TdsServer, databases: Databases, driver: Path, given: bytes, number: int
) -> None:
    target = databases("sqlite")
    there(server, name="nvarchar(20)")
    server.answers["is_read_committed_snapshot_on"] = [["0", "1", "160", "3", "0"]]
    answers = iter([given, texts([["a"], ["b"]])])
    server.answers["SELECT [name] FROM [t]"] = lambda: next(answers)
    ran = script(
        "import dray\nprint(dray.copy_table('Source', 'Target', 't', verify='none').read_lane_reason)",
        services={"Source": server.odbc, "Target": target.odbc},
        env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={driver}"},
    )
    assert ran.returncode == 0, ran.stderr
    assert target.query("SELECT name FROM t ORDER BY name") == [("a",), ("b",)]
    assert f"under READ COMMITTED, since a part of it may not be read under SNAPSHOT (error {number})" in ran.stdout
    isolations = [sql.rpartition(" LEVEL ")[2] for sql in server.statements if sql.startswith("SET TRANSACTION")]
    assert isolations[-2:] == ["SNAPSHOT", "READ COMMITTED"]


def test_a_table_is_read_under_the_isolation_that_its_own_database_offers(
    script: Script, server: TdsServer, databases: Databases, driver: Path
) -> None:
    target = databases("sqlite")
    there(server, name="nvarchar(20)")
    server.answers["HAS_DBACCESS"] = [["other", "0", "1", "user"]]
    server.answers["EXEC (N'USE [other]; SELECT CAST(is_read_committed_snapshot_on"] = [["0", "1", "160", "3", "0"]]
    server.answers["SELECT CAST(is_read_committed_snapshot_on"] = [["0", "0", "150", "3", "0"]]
    server.answers["SELECT [name] FROM"] = [["a"]]
    ran = script(
        """
        import dray
        names = ["other.dbo.a", "dbo.b"]
        report = dray.copy_tables(dray.Copy("Source", names), target="Target", parallel=1, verify="none", lanes="odbc")
        print(*(table.read_lane_reason for table in report.tables), sep="\\n")
        """,
        services={"Source": server.odbc, "Target": target.odbc},
        env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={driver}"},
    )
    assert ran.returncode == 0, ran.stderr
    of_other = "under SNAPSHOT (SQL Server, compatibility level 160)"
    locks = "so what is written meanwhile may be seen in part (SQL Server, compatibility level 150)"
    first, second = ran.stdout.splitlines()
    assert first.endswith(of_other) and second.endswith(locks), ran.stdout
    told = [sql for sql in server.statements if sql.startswith(("SET TRANSACTION", "SELECT [name]"))]
    assert told == [
        "SET TRANSACTION ISOLATION LEVEL SNAPSHOT",
        "SELECT [name] FROM [other].[dbo].[a]",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SELECT [name] FROM [dbo].[b]",
    ]


def test_a_table_of_a_linked_server_is_read_like_the_result_of_a_query(
    script: Script, server: TdsServer, databases: Databases, driver: Path
) -> None:
    target = databases("sqlite")
    columns = "SELECT TOP (0) * FROM (SELECT * FROM [linked].[db].[dbo].[t]\n) AS dray_query"
    server.answers[columns] = table(["nvarchar(20)"], [], done(0x10), "name")
    server.answers["SELECT [name] FROM [linked].[db].[dbo].[t] WHERE name <> 'b'"] = [["a"]]
    server.answers["is_read_committed_snapshot_on"] = [["0", "1", "160", "3", "0"]]
    ran = script(
        """
        import dray
        report = dray.copy_table("Source", "Target", "[linked].db.dbo.t", where="name <> 'b'")
        print(report.table, report.target, report.rows, report.read_lane_reason, *report.not_carried, sep="|")
        """,
        services={"Source": server.odbc, "Target": target.odbc},
        env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={driver}"},
    )
    assert ran.returncode == 0, ran.stderr
    name, into, rows, reason, lacks = ran.stdout.strip().split("|")
    assert (name, into, rows) == ("linked.db.dbo.t", "t", "1")
    assert "under READ COMMITTED at a linked server" in reason
    assert "a linked server is asked for columns alone" in lacks
    assert target.query("SELECT name FROM t") == [("a",)]
    # A transaction under SNAPSHOT reaches no other server (error 7420).
    assert not [sql for sql in server.statements if sql.startswith("SET TRANSACTION")]


def test_what_a_database_is_is_asked_once_for_all_of_its_tables(
    script: Script, server: TdsServer, databases: Databases, driver: Path
) -> None:
    target = databases("sqlite")
    there(server, name="nvarchar(20)")
    server.answers["SELECT [name] FROM"] = [["a"]]
    code = "import dray\ndray.copy_tables([dray.Copy('Source', name) for name in 'abc'], target='Target', parallel=1)"
    ran = script(
        code,
        services={"Source": server.odbc, "Target": target.odbc},
        env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={driver}"},
    )
    assert ran.returncode == 0, ran.stderr
    asked = [sql for sql in server.statements if "is_read_committed_snapshot_on" in sql]
    assert len(asked) == 1


def test_another_driver_manager_that_was_there_first_is_not_in_the_way(copied: Any, server: TdsServer) -> None:
    before = "import pyodbc\nother = pyodbc.connect('{odbc}')\nother.execute('SET NOCOUNT ON')"
    report = copied({"id": "INTEGER NOT NULL PRIMARY KEY", "n": "INTEGER"}, [(1, 2)], before=before)
    assert (report["error"], report["lane"]) == (None, "bcp"), report
    assert server.rows == [(1, 2)]


# --- with a real server ---


@pytest.fixture
def target(databases: Databases) -> Sqlserver:
    """The empty database of DRAY_TEST_MSSQL."""
    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    return made


def test_columns_that_are_not_copied_keep_what_the_table_gives_them(
    databases: Databases, target: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("t", {"n": "INTEGER", "name": "VARCHAR(5)"}, [(1, "a"), (None, None)])
    target.execute(
        "CREATE TABLE t (made int NOT NULL DEFAULT 7, name nvarchar(5), id int IDENTITY(3,1), n int, "
        "twice AS (n * 2) PERSISTED)"
    )
    copied = copying(source, target, mode="append")
    assert (copied.error("t"), copied.tables["t"]["write_lane"]) == (None, "bcp"), copied.tables
    assert target.query("SELECT id, made, name, n, twice FROM t ORDER BY id") == [
        (3, 7, "a", 1, 2),
        (4, 7, None, None, None),
    ]


def test_a_null_stays_one_where_the_column_has_a_default(
    databases: Databases, target: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("t", {"n": "INTEGER", "name": "VARCHAR(5)"}, [(1, None), (2, "")])
    target.execute("CREATE TABLE t (n int, name nvarchar(5) DEFAULT N'none')")
    copied = copying(source, target, mode="append")
    assert (copied.error("t"), copied.tables["t"]["write_lane"]) == (None, "bcp")
    assert target.query("SELECT n, name FROM t ORDER BY n") == [(1, None), (2, "")]


def test_a_table_whose_last_column_is_not_copied_is_loaded_otherwise(
    databases: Databases, target: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("t", {"n": "INTEGER"}, [(1,)])
    target.execute("CREATE TABLE t (n int, made int NOT NULL DEFAULT 7)")
    copied = copying(source, target, mode="append")
    assert (copied.error("t"), copied.tables["t"]["write_lane"]) == (None, "odbc")
    assert "last column, `made`" in copied.tables["t"]["write_lane_reason"]
    assert target.query("SELECT n, made FROM t") == [(1, 7)]


def test_a_constraint_that_a_row_breaks_takes_the_load_back(
    databases: Databases, target: Sqlserver, copying: Copying
) -> None:
    source = databases("sqlite")
    source.fill("t", {"n": "INTEGER"}, [(number,) for number in range(5_000)])
    target.execute("CREATE TABLE t (n int CHECK (n < 4000))")
    copied = copying(source, target, mode="append")
    error = copied.error("t")
    assert error is not None
    assert (copied.tables["t"]["write_lane"], error["code"]) == ("bcp", "database.constraint"), error
    assert target.count("t") == 0


def test_a_copy_that_waits_for_a_lock_stops_when_it_is_told_to(
    databases: Databases, target: Sqlserver, copying: Copying
) -> None:
    import pyodbc

    source = databases("sqlite")
    source.fill("t", {"n": "INTEGER NOT NULL PRIMARY KEY"}, [(number,) for number in range(10)])
    target.execute("CREATE TABLE t (n bigint NOT NULL PRIMARY KEY)")
    with pyodbc.connect(target.odbc, autocommit=False) as other:
        other.execute("INSERT INTO t VALUES (5)")  # whoever loads a 5 waits for this one
        process = copying.start(source, target, mode="append")
        time.sleep(4)
        assert process.poll() is None
        process.terminate()
        told = time.monotonic()
        process.communicate(timeout=60)
        took = time.monotonic() - told
        other.rollback()
    assert took < 5, f"it took {took:.1f} s to stop"
    assert target.count("t") == 0


WAKING = """
import dray, json
report = dray.copy_tables([dray.Copy("Source", "t")], target="Target")
print(json.dumps({"rows": report.rows, "retries": report.retries}))
"""


def test_a_serverless_database_that_is_waking_up_is_asked_again_until_it_lets_the_copy_in(
    script: Script, server: TdsServer, databases: Databases, driver: Path
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,), (2,)])
    asleep = (40613, "Database 'db' on server 's' is not currently available. Please retry the connection later.")
    server.login_refusals.extend([asleep, asleep])
    ran = script(
        WAKING,
        services={"Source": source.odbc, "Target": server.odbc + ";ConnectRetryCount=0"},
        env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={driver}", "DRAY_PYTHON": sys.executable},
    )
    assert ran.returncode == 0, ran.stderr
    report = json.loads(ran.stdout)
    assert report["rows"] == 2
    assert server.rows == [(1,), (2,)]
    told = [(retry["phase"], retry["side"], retry["native"]) for retry in report["retries"]]
    assert told == [("connect", "target", 40613)] * 2, report["retries"]
    assert ran.stderr.count('"copy.connect_again"') == 2
