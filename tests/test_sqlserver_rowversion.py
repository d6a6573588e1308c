"""Incremental copies out of SQL Server by a `rowversion`: which rows are read, and where the mark goes.

The first tests talk to a listener, so that what they expect is what Microsoft's reference says of MIN_ACTIVE_ROWVERSION; the
others run where DRAY_TEST_MSSQL leads to a database that may be emptied.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from conftest import Script
from copying import Copying
from databases import Database, Databases, Sqlserver, microsoft_driver
from tds_server import Column, TdsServer, done, short_text, tds_server

CODE = """
import dray, json
try:
    table = dray.copy_table("Source", "Target", {what}, mode="incremental", watermark="rv", columns="id"{options})
except dray.CopyError as failed:
    table = failed.report.tables[0]
print(json.dumps({{"rows": table.rows, "error": table.error}}))
"""


@pytest.fixture
def listener() -> Iterator[TdsServer]:
    """A listener with a table `t` that has a rowversion, under the name that a server's catalog has for it."""
    with tds_server() as made:
        made.columns = [Column("id", "nvarchar(20)", False), Column("rv", "timestamp", False)]
        made.answers["SELECT [id] FROM"] = [["a"]]
        yield made


@pytest.fixture
def copied(script: Script, listener: TdsServer, databases: Databases) -> Any:
    """`copied(until)` copies when the listener says that no version up to this one is open, or nothing, and gives what is
    reported."""
    target = databases("sqlite")

    def copy(until: Optional[int], options: str = "", what: str = '"t"', kind: str = "READ_WRITE") -> dict[str, Any]:
        listener.answers["MIN_ACTIVE_ROWVERSION()"] = [] if until is None else [[str(until), kind]]
        ran = script(
            CODE.format(what=what, options=options),
            services={"Source": listener.odbc, "Target": target.odbc},
            env={"DRAY_ODBC_DRIVERS": f"ODBC Driver 18 for SQL Server={microsoft_driver()}"},
        )
        assert ran.returncode == 0, ran.stderr
        report: dict[str, Any] = json.loads(ran.stdout)
        return report

    copy.target = target  # type: ignore[attr-defined]
    return copy


def version(number: int) -> str:
    """A rowversion as SQL has it."""
    return f"0x{number:016X}"


def read(listener: TdsServer) -> str:
    """The condition of the rows that were read last."""
    statements = [sql for sql in listener.statements if sql.startswith("SELECT [id] FROM [t]")]
    return statements[-1].partition(" WHERE ")[2]


def mark(target: Database) -> str:
    """The mark in the journal."""
    [(found,)] = target.query("SELECT mark FROM dray_journal WHERE run_id = ''")
    return str(found)


def test_rows_are_read_between_the_last_mark_and_the_lowest_version_that_is_open(
    copied: Any, listener: TdsServer
) -> None:
    assert copied(0x7D0)["error"] is None
    assert read(listener) == f"[rv] <= {version(0x7D0)}"
    [asked] = [sql for sql in listener.statements if "MIN_ACTIVE_ROWVERSION()" in sql]
    # Bytes would become an `int`, and lose the upper four.
    assert "CAST(MIN_ACTIVE_ROWVERSION() AS bigint) - 1" in asked
    assert mark(copied.target) == version(0x7D0)
    # Nothing of the table need have changed for the mark to move.
    listener.answers["SELECT [id] FROM"] = []
    assert copied(0x1_0000_0000)["rows"] == 0
    assert read(listener) == f"[rv] > {version(0x7D0)} AND [rv] <= {version(0x1_0000_0000)}"
    assert mark(copied.target) == version(0x1_0000_0000)


def test_a_condition_of_the_users_own_holds_as_well(copied: Any, listener: TdsServer) -> None:
    assert copied(9, options=", where=\"id <> N'b' -- not that one\"")["error"] is None
    assert read(listener) == f"(id <> N'b' -- not that one\n) AND [rv] <= {version(9)}"


def test_a_database_that_was_taken_back_is_told_and_not_read_as_unchanged(copied: Any, listener: TdsServer) -> None:
    copied(0x20)
    error = copied(0x1F)["error"]
    assert (error["code"], error["side"]) == ("copy.watermark", "source")
    assert version(0x20) in error["message"] and version(0x1F) in error["message"]
    assert "earlier state" in error["message"]
    assert mark(copied.target) == version(0x20)


def test_an_overlap_is_refused_since_no_row_comes_late(copied: Any) -> None:
    error = copied(9, options=', overlap="15min", key="id"')["error"]
    assert error["code"] == "copy.watermark"
    assert "the watermark `rv` (rowversion) has no overlap, and needs none" in error["message"]


def test_what_may_show_another_databases_versions_is_refused(copied: Any, listener: TdsServer) -> None:
    # 80 is the type of the user that a rowversion has in the protocol, where it is a binary.
    columns = [(0, Column("id", "nvarchar(20)", False)), (80, Column("rv", "binary(8)", False))]
    shape = b"\x81" + struct.pack("<H", len(columns))
    for of_user, column in columns:
        shape += struct.pack("<IH", of_user, 8) + column.type_info + short_text(column.name)
    listener.answers["TOP (0)"] = shape + done(0x10)
    error = copied(9, what='query="SELECT id, rv FROM other.dbo.t", into="t"')["error"]
    assert error["code"] == "copy.watermark"
    assert "(rowversion) is no watermark here: a query may read tables of other databases" in error["message"]
    # The server answers for tables alone.
    error = copied(None)["error"]
    assert error["code"] == "copy.watermark"
    assert "`t` is a view" in error["message"]
    [asked] = [sql for sql in listener.statements if "MIN_ACTIVE_ROWVERSION()" in sql]
    assert asked.endswith(" WHERE OBJECTPROPERTY(OBJECT_ID(N'[t]'), 'IsUserTable') = 1")


def test_a_replica_that_does_not_know_what_is_open_on_the_primary_is_refused(copied: Any) -> None:
    error = copied(9, kind="READ_ONLY")["error"]
    assert error["code"] == "copy.watermark"
    assert "read-only replica" in error["message"]


# --- with a real server ---

# Babelfish hands out the number of the transaction, and has no MIN_ACTIVE_ROWVERSION: the lowest number of those that are open.
OF_BABELFISH = """
CREATE FUNCTION MIN_ACTIVE_ROWVERSION() RETURNS bigint AS BEGIN
    RETURN CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS varchar(30)) AS bigint)
END
"""


@pytest.fixture
def server(databases: Databases) -> Iterator[Sqlserver]:
    """The empty database of DRAY_TEST_MSSQL, which has rowversions."""
    import pyodbc

    made = databases("sqlserver")
    assert isinstance(made, Sqlserver)
    is_babelfish = "Babelfish" in made.query("SELECT @@VERSION")[0][0]
    if is_babelfish:
        made.execute("EXEC sp_babelfish_configure 'escape_hatch_rowversion', 'ignore'")
        made.execute("DROP FUNCTION IF EXISTS MIN_ACTIVE_ROWVERSION")
        made.execute(OF_BABELFISH)
    else:
        # Without versions of its rows a database has who reads a table wait for who changes it.
        with contextlib.suppress(pyodbc.Error):
            made.execute("ALTER DATABASE CURRENT SET ALLOW_SNAPSHOT_ISOLATION ON")
    yield made
    if is_babelfish:
        made.execute("DROP FUNCTION MIN_ACTIVE_ROWVERSION")


@pytest.mark.parametrize(
    ("product", "way"),
    [("sqlite", "odbc"), ("postgresql", "freetds"), ("mariadb", "odbc"), ("sqlserver", "odbc")],
)
def test_what_was_committed_late_comes_with_the_next_copy_and_nothing_twice(
    databases: Databases, server: Sqlserver, copying: Copying, product: str, way: str
) -> None:
    import pyodbc

    target = server if product == "sqlserver" else databases(product)
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, note nvarchar(20), rv rowversion)")
    server.execute("INSERT INTO t (id, note) VALUES (1, N'a'), (2, N'b')")
    odbc = server.odbc
    if way == "freetds":
        server.odbc = server.freetds

    # In Babelfish the versions come from a default, which a copy within the product takes over.
    options = {"schema": "columns"} if product == "sqlserver" else {}

    def copied() -> int:
        done = copying(server, target, "t", into="copied", mode="incremental", watermark="RV", **options)
        assert done.error("t") is None, json.dumps(done.error("t"))
        return int(done.tables["t"]["rows"])

    assert (copied(), copied()) == (2, 0)
    with pyodbc.connect(odbc, autocommit=False) as late:
        late.execute("INSERT INTO t (id, note) VALUES (3, N'late')")
        server.execute("INSERT INTO t (id, note) VALUES (4, N'soon')")
        server.execute("UPDATE t SET note = N'changed' WHERE id = 1")
        assert copied() == 0, "versions are greater than one that is open"
        late.commit()
    assert (copied(), copied()) == (3, 0)
    rows = "SELECT id, note, rv FROM {} ORDER BY id"
    arrived = [(number, note, bytes(version)) for number, note, version in target.query(rows.format("copied"))]
    assert arrived == server.query(rows.format("t"))
    assert len(arrived) == 4


def test_a_view_of_a_table_with_a_rowversion_is_refused_and_the_table_is_not(
    databases: Databases, server: Sqlserver, copying: Copying
) -> None:
    target = databases("sqlite")
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, rv timestamp)")
    server.execute("INSERT INTO t (id) VALUES (1)")
    server.execute("CREATE VIEW v AS SELECT id, rv FROM t")
    copied = copying(server, target, ["t", "v"], mode="incremental", watermark="rv")
    assert copied.error("t") is None
    error = copied.error("v")
    assert error is not None
    assert (error["code"], "is a view" in error["message"]) == ("copy.watermark", True), error
