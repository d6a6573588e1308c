"""Incremental copies out of SQL Server by a `rowversion`: which rows are read, and where the mark goes.

The first tests talk to a listener, so that what they expect is what Microsoft's reference says of MIN_ACTIVE_ROWVERSION; the
others run where DRAY_TEST_MSSQL leads to a database that may be emptied.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from typing import Any, Optional

import pytest
from conftest import Script
from databases import Database, Databases, microsoft_driver
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

    def copy(until: Optional[str], options: str = "", what: str = '"t"', kind: str = "READ_WRITE") -> dict[str, Any]:
        listener.answers["MIN_ACTIVE_ROWVERSION()"] = [] if until is None else [[until, kind]]
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
    assert copied(version(0x7D0))["error"] is None
    assert read(listener) == f"[rv] <= {version(0x7D0)}"
    [asked] = [sql for sql in listener.statements if "MIN_ACTIVE_ROWVERSION()" in sql]
    # An arithmetic operator would make an `int` of the bytes, and lose the upper four.
    assert "CAST(CAST(MIN_ACTIVE_ROWVERSION() AS bigint) - 1 AS binary(8))" in asked
    assert mark(copied.target) == version(0x7D0)
    # Nothing of the table need have changed for the mark to move.
    listener.answers["SELECT [id] FROM"] = []
    assert copied(version(0x1_0000_0000))["rows"] == 0
    assert read(listener) == f"[rv] > {version(0x7D0)} AND [rv] <= {version(0x1_0000_0000)}"
    assert mark(copied.target) == version(0x1_0000_0000)


def test_a_condition_of_the_users_own_holds_as_well(copied: Any, listener: TdsServer) -> None:
    assert copied(version(9), options=", where=\"id <> N'b' -- not that one\"")["error"] is None
    assert read(listener) == f"(id <> N'b' -- not that one\n) AND [rv] <= {version(9)}"


def test_a_database_that_was_taken_back_is_told_and_not_read_as_unchanged(copied: Any, listener: TdsServer) -> None:
    copied(version(0x20))
    error = copied(version(0x1F))["error"]
    assert (error["code"], error["side"]) == ("copy.watermark", "source")
    assert version(0x20) in error["message"] and version(0x1F) in error["message"]
    assert "earlier state" in error["message"]
    assert mark(copied.target) == version(0x20)


def test_an_overlap_is_refused_since_no_row_comes_late(copied: Any) -> None:
    error = copied(version(9), options=', overlap="15min", key="id"')["error"]
    assert error["code"] == "copy.watermark"
    assert "the watermark `rv` (rowversion) has no overlap, and needs none" in error["message"]


def test_what_may_show_another_databases_versions_is_refused(copied: Any, listener: TdsServer) -> None:
    # 80 is the type of the user that a rowversion has in the protocol, where it is a binary.
    columns = [(0, Column("id", "nvarchar(20)", False)), (80, Column("rv", "binary(8)", False))]
    shape = b"\x81" + struct.pack("<H", len(columns))
    for of_user, column in columns:
        shape += struct.pack("<IH", of_user, 8) + column.type_info + short_text(column.name)
    listener.answers["TOP (0)"] = shape + done(0x10)
    error = copied(version(9), what='query="SELECT id, rv FROM other.dbo.t", into="t"')["error"]
    assert error["code"] == "copy.watermark"
    assert "(rowversion) is no watermark here: a query may read tables of other databases" in error["message"]
    # The server answers for tables alone.
    error = copied(None)["error"]
    assert error["code"] == "copy.watermark"
    assert "`t` is a view" in error["message"]
    [asked] = [sql for sql in listener.statements if "MIN_ACTIVE_ROWVERSION()" in sql]
    assert asked.endswith(" WHERE OBJECTPROPERTY(OBJECT_ID(N'[t]'), 'IsUserTable') = 1")


def test_a_replica_that_does_not_know_what_is_open_on_the_primary_is_refused(copied: Any) -> None:
    error = copied(version(9), kind="READ_ONLY")["error"]
    assert error["code"] == "copy.watermark"
    assert "read-only replica" in error["message"]
