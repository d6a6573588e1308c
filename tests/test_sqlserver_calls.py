"""What a script asks of SQL Server beside plain copies: checksums, rejects, added columns, Arrow, queries, comparisons, plans.

Runs where DRAY_TEST_MSSQL leads to a database that may be emptied.
"""

from __future__ import annotations

import json
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import Databases, Sqlserver
from test_sqlserver_copies import WAYS, by, server

__all__ = ["server"]  # the fixture

# Those of which nothing goes by a bulk copy.
OUT = ["odbc", "freetds"]


@pytest.mark.parametrize("way", WAYS)
def test_a_checksum_covers_long_values_too(databases: Databases, server: Sqlserver, copying: Copying, way: str) -> None:
    source = databases("postgresql")
    rows = [(1, "é" * 100_000, b"\1" * 200_000), (2, None, None), (3, "", b"")]
    source.fill("t", {"id": "INTEGER", "note": "TEXT", "data": "bytea"}, rows)
    copied = copying(source, server, verify="checksum", **by(server, way))
    assert (copied.error("t"), copied.tables["t"]["verified"]) == (None, "checksum")
    back = copying(server, databases("sqlite"), verify="checksum", **by(server, way))
    assert back.tables["t"]["checksum"] == copied.tables["t"]["checksum"]


@pytest.mark.parametrize("way", OUT)
def test_rows_that_the_server_refuses_are_written_to_a_file(
    databases: Databases, server: Sqlserver, copying: Copying, tmp_path: Path, way: str
) -> None:
    source = databases("sqlite")
    source.numbered("t", 3_000, "n")
    server.execute("CREATE TABLE t (id int CHECK (id % 1000 <> 7), square bigint, note nvarchar(20))")
    copied = copying(source, server, on_reject="file", rejects=str(tmp_path / "rejects"), **by(server, way))
    table = copied.tables["t"]
    assert (table["error"], table["rejected"], table["rows"]) == (None, 3, 2_997)
    lines = Path(table["rejects_file"]).read_text("utf-8").splitlines()
    assert [json.loads(line)["row"] for line in lines] == [7, 1007, 2007]
    assert server.count("t") == 2_997


@pytest.mark.parametrize("way", WAYS)
def test_columns_that_the_table_lacks_are_added(
    databases: Databases, server: Sqlserver, copying: Copying, way: str
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER", "more": "DECIMAL(9,2)"}, [(2, "1.25")])
    # One: Babelfish does not add several with one statement.
    server.execute("CREATE TABLE t (id int)")
    server.execute("INSERT INTO t VALUES (1)")
    copied = copying(source, server, mode="append", add_columns=True, **by(server, way))
    assert copied.error("t") is None
    assert server.query("SELECT id, more FROM t ORDER BY id") == [(1, None), (2, Decimal("1.25"))]


@pytest.mark.parametrize("way", WAYS)
def test_a_table_of_arrow_goes_in_and_comes_out(server: Sqlserver, script: Script, way: str) -> None:
    lanes = by(server, way)["lanes"]
    code = f"""
        import dray, datetime, pyarrow
        written = pyarrow.table({{
            "id": pyarrow.array([1, 2, None]), "note": ["é🎉", "", None],
            "at": pyarrow.array([datetime.datetime(2024, 2, 29, 1, 2, 3, 456000)] * 3, pyarrow.timestamp("us")),
        }})
        dray.write("Server", "t", written, lanes={lanes!r})
        read = pyarrow.table(dray.read("Server", "t", timestamps="us", lanes={lanes!r}))
        assert read.to_pydict() == written.to_pydict(), read
    """
    done = script(code, services={"Server": server.odbc}, env={"DRAY_PYTHON": sys.executable})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", OUT)
def test_a_query_and_a_statement_take_parameters(server: Sqlserver, script: Script, way: str) -> None:
    by(server, way)
    code = """
        import dray
        from decimal import Decimal
        with dray.connect("Server") as db:
            db.execute("CREATE TABLE t (id int, amount decimal(12,3), note nvarchar(max))")
            db.execute("INSERT INTO t VALUES (?, ?, ?)", 1, Decimal("12.345"), "é🎉 it's")
            db.execute("INSERT INTO t VALUES (?, ?, ?)", 2, None, "x" * 70_000)
            (row,) = db.query("SELECT * FROM t WHERE id = ? AND note LIKE ?", 1, "é%")
            assert (row["amount"], row["note"]) == (Decimal("12.345"), "é🎉 it's"), row
            (row,) = db.query("SELECT note FROM t WHERE amount IS NULL")
            assert row["note"] == "x" * 70_000
    """
    done = script(code, services={"Server": server.odbc})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("way", OUT)
def test_two_databases_are_compared_and_the_keys_named_that_differ(
    databases: Databases, server: Sqlserver, script: Script, way: str
) -> None:
    other = databases("postgresql")
    rows: list[tuple[Any, ...]] = [(1, "a"), (2, "é"), (3, None)]
    other.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "varchar(9)"}, rows)
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, note nvarchar(9))")
    server.insert("t", [(1, "a"), (2, "e"), (4, None)])
    by(server, way)
    code = """
        import dray
        for ends in (("Other", "Server"), ("Server", "Other")):
            (table,) = dray.verify_tables(dray.Copy(ends[0], "t"), target=ends[1], mode="mirror").tables
            print(sorted((each.kind, each.key["id"]) for each in table.differences))
    """
    done = script(code, services={"Server": server.odbc, "Other": other.odbc})
    assert done.returncode == 0, done.stderr
    there, back = done.stdout.splitlines()
    assert [key for key in "234" if f"'{key}'" in there and f"'{key}'" in back] == ["2", "3", "4"], done.stdout


@pytest.mark.parametrize("way", WAYS)
def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    databases: Databases, server: Sqlserver, script: Script, way: str
) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}, [(1, "a")])
    lanes = by(server, way)["lanes"]
    code = f"import dray\nprint(dray.plan_copy(dray.Copy('Other', 't'), target='Server', lanes={lanes!r}))"
    done = script(code, services={"Server": server.odbc, "Other": source.odbc})
    assert done.returncode == 0, done.stderr
    assert "nvarchar(40)" in done.stdout
    assert ("bcp" if way == "auto" else "odbc") in done.stdout
    assert server.tables() == set()
