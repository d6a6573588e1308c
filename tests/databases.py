"""Fresh databases of each product, by clients that share no code with dray: psycopg, PyMySQL, sqlite3 and pyodbc.

Knows how to make a database, its ODBC connection string, and how to fill and read tables. What values a table should
hold is `exact_values`'s business.
"""

from __future__ import annotations

import abc
import contextlib
import datetime
import importlib.util
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional

import psycopg
import psycopg.sql
import pymysql
import pytest

PRODUCTS = ("sqlite", "postgresql", "mariadb")
DIRECTIONS = [(source, target) for source in PRODUCTS for target in PRODUCTS]

# Each product once as source and once as target.
ROUND = list(zip(PRODUCTS, (*PRODUCTS[1:], PRODUCTS[0])))

# For what takes long, or goes the same way whatever the direction is: `make test-long` has all of them.
SOME_DIRECTIONS = DIRECTIONS if "DRAY_TEST_AT_LENGTH" in os.environ else ROUND


class Database(abc.ABC):
    """One database, empty at first, and a connection to it that commits each statement."""

    product: str
    odbc: str
    quote_sign = '"'
    parameter = "%s"

    @abc.abstractmethod
    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The rows of a SELECT."""

    @abc.abstractmethod
    def execute(self, sql: str, *parameters: Any) -> None:
        """Run a statement and commit it."""

    @abc.abstractmethod
    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        """Insert rows of as many values as the table has columns, and commit them."""

    @abc.abstractmethod
    def numbered(self, table: str, rows: int, text: str) -> None:
        """Make a table of `rows` rows: `id` from 1 on, a whole number, and a text of `text` and that number."""

    def tables(self) -> set[str]:
        """The names of the tables that there are, without their schemas and dray's journal."""
        return self.all_tables() - {"dray_journal"}

    @abc.abstractmethod
    def all_tables(self) -> set[str]:
        """The names of the tables that there are, without their schemas."""

    @abc.abstractmethod
    def close(self) -> None:
        """End the connection and drop the database."""

    def quote(self, name: str) -> str:
        """An identifier as it stands in SQL."""
        return self.quote_sign + name.replace(self.quote_sign, self.quote_sign * 2) + self.quote_sign

    def count(self, table: str) -> int:
        """How many rows a table has."""
        return int(self.query(f"SELECT COUNT(*) FROM {self.quote(table)}")[0][0])

    def fill(self, table: str, columns: dict[str, str], rows: Sequence[Sequence[Any]]) -> None:
        """Make a table of these columns (name to SQL type) and insert `rows`."""
        self.execute(f"CREATE TABLE {self.quote(table)} ({self.columns(columns)})")
        self.insert(table, rows)

    def columns(self, columns: dict[str, str]) -> str:
        """The column list of a CREATE TABLE."""
        return ", ".join(f"{self.quote(name)} {declared}" for name, declared in columns.items())


class Sqlite(Database):
    """A file, by Python's sqlite3."""

    product = "sqlite"
    parameter = "?"

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.db"
        self.odbc = f"Driver={{SQLite3}};Database={self.path}"
        self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=5)
        self._connection.execute("PRAGMA synchronous = OFF")  # this connection's writes need not outlive the machine

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters).fetchall()

    def execute(self, sql: str, *parameters: Any) -> None:
        self._connection.execute(sql, parameters)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        self._connection.execute("BEGIN")
        places = ", ".join("?" * len(rows[0]))
        self._connection.executemany(f"INSERT INTO {self.quote(table)} VALUES ({places})", rows)
        self._connection.execute("COMMIT")

    def numbered(self, table: str, rows: int, text: str) -> None:
        name = self.quote(table)
        self.execute(f"CREATE TABLE {name} (id INTEGER NOT NULL PRIMARY KEY, square BIGINT, note TEXT)")
        self.execute(
            f"INSERT INTO {name} WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows}) "
            "SELECT i, i * i, ? || i FROM n",
            text,
        )

    def all_tables(self) -> set[str]:
        return {
            name
            for (name,) in self.query(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'sqlite_sequence'"
            )
        }

    def close(self) -> None:
        self._connection.close()


class Postgresql(Database):
    """A database of the private server, by psycopg."""

    product = "postgresql"

    def reconnect(self) -> None:
        """Connect anew, as soon as the server takes anybody, after it went away."""
        deadline = time.monotonic() + 30
        self._connection.close()
        while self._connection.closed:
            try:
                self._connection = connect_postgresql(self.name)
            except psycopg.OperationalError:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def __init__(self, name: str) -> None:
        self.name = name
        with connect_postgresql("postgres") as server:
            # The default since 15 writes each page to the log: four times as long, of which a suite has thousands.
            strategy = " STRATEGY file_copy" if server.info.server_version >= 150_000 else ""
            create = psycopg.sql.SQL("CREATE DATABASE {}" + strategy)
            server.execute(create.format(psycopg.sql.Identifier(name)))
        self._connection = connect_postgresql(name)
        self.odbc = part("POSTGRESQL").replace("Database=dray;", f"Database={name};")

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql, parameters or None).fetchall()

    def execute(self, sql: str, *parameters: Any) -> None:
        self._connection.execute(sql, parameters or None)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join(["%s"] * len(rows[0]))
        with self._connection.transaction(), self._connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {self.quote(table)} VALUES ({places})", rows)

    def numbered(self, table: str, rows: int, text: str) -> None:
        name = self.quote(table)
        self.execute(f"CREATE TABLE {name} (id integer NOT NULL PRIMARY KEY, square bigint, note text)")
        self.execute(f"INSERT INTO {name} SELECT i, i::bigint * i, %s || i FROM generate_series(1, {rows}) i", text)

    def all_tables(self) -> set[str]:
        return {name for (name,) in self.query("SELECT tablename FROM pg_tables WHERE schemaname !~ '^(pg_|info)'")}

    def close(self) -> None:
        self._connection.close()
        with connect_postgresql("postgres") as server:
            server.execute(f"DROP DATABASE {self.quote(self.name)} WITH (FORCE)")


class Mariadb(Database):
    """A database of the private server, by PyMySQL."""

    product = "mariadb"
    quote_sign = "`"

    def reconnect(self) -> None:
        """Connect anew, as soon as the server takes anybody, after it went away."""
        deadline = time.monotonic() + 60
        while True:
            try:
                self._connection.ping(reconnect=True)
                return self._connection.select_db(self.name)
            except pymysql.Error:
                assert time.monotonic() < deadline
                time.sleep(0.05)

    def __init__(self, name: str) -> None:
        self.name = name
        self._connection = pymysql.connect(
            host=part("MARIADB_HOST"),
            port=int(part("MARIADB_PORT")),
            user=part("MARIADB_USER"),
            password=part("MARIADB_PASSWORD"),
            charset="utf8mb4",
            autocommit=True,
        )
        self.execute(f"CREATE DATABASE {self.quote(name)}")
        self._connection.select_db(name)
        self.odbc = part("MARIADB").replace("Database=dray;", f"Database={name};")

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)
            return list(cursor.fetchall())

    def execute(self, sql: str, *parameters: Any) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql, parameters or None)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        places = ", ".join(["%s"] * len(rows[0]))
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN")
            for row in rows:
                cursor.execute(f"INSERT INTO {self.quote(table).replace('%', '%%')} VALUES ({places})", row)
            cursor.execute("COMMIT")

    def numbered(self, table: str, rows: int, text: str) -> None:
        name = self.quote(table)
        self.execute(f"CREATE TABLE {name} (id INT NOT NULL PRIMARY KEY, square BIGINT, note LONGTEXT)")
        self.execute(f"INSERT INTO {name} SELECT seq, seq * seq, CONCAT(%s, seq) FROM seq_1_to_{rows}", text)

    def all_tables(self) -> set[str]:
        return {name for (name,) in self.query("SHOW TABLES")}

    def close(self) -> None:
        # A session that a test left behind would hold the tables.
        others = "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()"
        for (session,) in self.query(others, self.name):
            with contextlib.suppress(pymysql.Error):  # it may be gone by now
                self.execute(f"KILL {session}")
        self.execute(f"DROP DATABASE {self.quote(self.name)}")
        self._connection.close()


class Sqlserver(Database):
    """The database of DRAY_TEST_MSSQL, or another one of its server, emptied first, by pyodbc."""

    product = "sqlserver"
    parameter = "?"

    def __init__(self, name: Optional[str] = None) -> None:
        given = os.environ.get("DRAY_TEST_MSSQL")
        if not given:
            pytest.skip("DRAY_TEST_MSSQL is not set: an ODBC connection string of a database that tests may empty")
        import pyodbc

        attributes = dict(pair.split("=", 1) for pair in given.split(";") if pair)
        attributes["Driver"] = str(microsoft_driver())
        attributes["Database"] = self.name = name or attributes["Database"]
        self.odbc = "".join(f"{name}={value};" for name, value in attributes.items())
        host, _, port = attributes["Server"].partition(",")
        others = "".join(f"{name}={value};" for name, value in attributes.items() if name in ("Database", "UID", "PWD"))
        self.freetds = f"Driver=FreeTDS;Server={host};Port={port or 1433};{others}"
        self._connection = pyodbc.connect(self.odbc, autocommit=True)
        # One that only speaks the protocol, and departs from SQL Server in places.
        self.is_babelfish = "Babelfish" in self.query("SELECT @@VERSION")[0][0]
        self._empty()

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        return [tuple(row) for row in self._connection.execute(sql, *parameters).fetchall()]

    def execute(self, sql: str, *parameters: Any) -> None:
        self._connection.execute(sql, *parameters)

    def insert(self, table: str, rows: Sequence[Sequence[Any]]) -> None:
        for row in rows:
            # pyodbc does not know of what type a NULL is, and drops zones, and fractions of seconds of some servers.
            places, values = [], []
            for value in row:
                declared = ""
                if isinstance(value, datetime.datetime):
                    declared = "datetime2" if value.tzinfo is None else "datetimeoffset"
                elif isinstance(value, datetime.time):
                    declared = "time"
                places.append("NULL" if value is None else f"CAST(? AS {declared})" if declared else "?")
                values += [] if value is None else [str(value) if declared else value]
            self._connection.execute(f"INSERT INTO {self.quote(table)} VALUES ({', '.join(places)})", *values)

    def numbered(self, table: str, rows: int, text: str) -> None:
        name = self.quote(table)
        self.execute(f"CREATE TABLE {name} (id int NOT NULL PRIMARY KEY, square bigint, note nvarchar(max))")
        digits = "WITH d AS (SELECT n FROM (VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9)) AS v (n))"
        number, places = "a.n + 10 * b.n + 100 * c.n + 1000 * e.n + 10000 * f.n + 1", "d a, d b, d c, d e, d f"
        if rows > 100_000:
            number, places = f"100000 * g.n + {number}", f"d g, {places}"
        self.execute(
            f"{digits} INSERT INTO {name} SELECT i, CAST(i AS bigint) * i, CONCAT(CAST(? AS nvarchar(max)), i) "
            f"FROM (SELECT {number} AS i FROM {places}) AS numbers WHERE i <= {rows}",
            text,
        )

    def all_tables(self) -> set[str]:
        return {name for (name,) in self.query("SELECT name FROM sys.tables")}

    def quote(self, name: str) -> str:
        return "[" + name.replace("]", "]]") + "]"

    def close(self) -> None:
        self._empty()
        self._connection.close()

    def _empty(self) -> None:
        named = "SELECT s.name, o.name FROM sys.{} o JOIN sys.schemas s ON s.schema_id = o.schema_id"
        keys = (
            "SELECT s.name, o.name, f.name FROM sys.foreign_keys f JOIN sys.tables o "
            "ON o.object_id = f.parent_object_id JOIN sys.schemas s ON s.schema_id = o.schema_id"
        )
        for schema, table, key in self.query(keys):
            self.execute(f"ALTER TABLE {self.quote(schema)}.{self.quote(table)} DROP CONSTRAINT {self.quote(key)}")
        for kind in ("views", "tables"):
            for schema, name in self.query(named.format(kind) + " WHERE s.name IN ('dbo', 'other')"):
                self.execute(f"DROP {kind[:-1]} {self.quote(schema)}.{self.quote(name)}")


def microsoft_driver() -> Path:
    """The file of Microsoft's driver in the package that holds it."""
    found = importlib.util.find_spec("mssql_python_odbc")
    assert found is not None
    assert found.origin is not None
    return next(Path(found.origin).parent.glob("libs/linux/debian_ubuntu/x86_64/lib/libmsodbcsql-*"))


def part(name: str) -> str:
    """An environment variable that `tests/servers.py` sets; without it the test is skipped, and says why."""
    value = os.environ.get(f"DRAY_TEST_{name}")
    if not value:
        pytest.skip(f"DRAY_TEST_{name} is not set: run `make test`, or python3 tests/servers.py COMMAND")
    return value


def connect_postgresql(database: str) -> psycopg.Connection[tuple[Any, ...]]:
    """A connection to the private server that commits each statement."""
    return psycopg.connect(
        host=part("POSTGRESQL_HOST"),
        port=int(part("POSTGRESQL_PORT")),
        user=part("POSTGRESQL_USER"),
        password=part("POSTGRESQL_PASSWORD"),
        dbname=database,
        autocommit=True,
        client_encoding="UTF8",
    )


class Databases:
    """Makes databases and drops them again."""

    _count = 0

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._made: list[Database] = []

    def __call__(self, product: str, name: Optional[str] = None) -> Database:
        """A fresh database of `product`. `name` defaults to one that no other test has."""
        Databases._count += 1
        name = name or f"test_{os.getpid()}_{Databases._count}"
        made: Database
        if product == "sqlite":
            made = Sqlite(self._folder, name)
        elif product == "postgresql":
            made = Postgresql(name)
        elif product == "sqlserver":
            made = Sqlserver()
        else:
            made = Mariadb(name)
        self._made.append(made)
        return made

    def close(self) -> None:
        """Drop all that were made."""
        for made in self._made:
            made.close()


@contextlib.contextmanager
def fresh_databases(folder: Path) -> Iterator[Databases]:
    """A maker of databases; they are dropped at the end of the block."""
    databases = Databases(folder)
    try:
        yield databases
    finally:
        databases.close()
