"""The ends of a route: how each tool reaches them, and a query by the databases' own clients, psql and mariadb.

Those clients share no code with dray nor with its peers, so what they say about a copy is independent of it.
"""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Union
from urllib.parse import quote

# Product names as the command line and the results have them.
PRODUCTS = {"pg": "PostgreSQL", "my": "MariaDB", "sqlite": "SQLite", "ms": "SQL Server"}
SETTLE_SECONDS = 20


class QueryFailed(Exception):
    """A client of a database ended badly; the text is what it said."""


@dataclass(frozen=True)
class Database:
    """One database. `name` is a file's path for SQLite, which has no server."""

    product: str
    name: str
    host: str = ""
    port: int = 0
    user: str = ""
    password: str = ""

    def url(self, scheme: str, options: str = "") -> str:
        """`scheme://user:password@host:port/name?options`."""
        if self.product == "sqlite":
            return f"{scheme}://{self.name}"
        return f"{scheme}://{self.user}:{quote(self.password)}@{self.host}:{self.port}/{self.name}{options}"

    def odbc(self, options: str = "") -> str:
        """A connection string; `options` such as `Fetch=5000;`."""
        if self.product == "sqlite":
            return f"Driver={{SQLite3}};Database={self.name};{options}"
        driver = "PostgreSQL Unicode" if self.product == "pg" else "MariaDB Unicode"
        where = f"Server={self.host};Port={self.port};Database={self.name};UID={self.user};PWD={self.password}"
        return f"Driver={{{driver}}};{where};{options}"

    def schema(self) -> str:
        """The schema that an unqualified name means."""
        return {"pg": "public", "my": self.name, "sqlite": "main"}[self.product]

    def client(self, *arguments: str) -> list[str]:
        """The command line of the product's own client, without output of its own; `environment` has the password."""
        if self.product == "sqlite":
            return ["sqlite3", self.name, *arguments]
        where = [f"--host={self.host}", f"--port={self.port}"]
        if self.product == "pg":
            options = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", f"--username={self.user}"]
            return ["psql", *options, *where, f"--dbname={self.name}", *arguments]
        options = ["--no-defaults", "--default-character-set=utf8mb4", "--protocol=tcp", f"--user={self.user}"]
        return ["mariadb", *options, *where, *arguments, self.name]

    def environment(self) -> dict[str, str]:
        """The variables that the product's own client reads its password from."""
        return {"pg": {"PGPASSWORD": self.password}, "my": {"MYSQL_PWD": self.password}, "sqlite": {}}[self.product]

    def query(self, sql: str) -> list[list[str]]:
        """Run a statement and give the rows of its result as text."""
        options = {
            "pg": ["--no-align", "--tuples-only", "--field-separator=\t", "--file=-"],
            "my": ["--batch", "--skip-column-names", "--raw"],
            "sqlite": ["-batch", "-separator", "\t"],
            "ms": [],
        }[self.product]
        return [line.split("\t") for line in self.feed(options, sql.encode()).splitlines()]

    def feed(self, options: list[str], data: Union[bytes, IO[bytes]]) -> str:
        """Run the client with bytes, or an open file, on its standard input; what it printed."""
        done = subprocess.run(
            self.client(*options),
            input=data if isinstance(data, bytes) else None,
            stdin=None if isinstance(data, bytes) else data,
            capture_output=True,
            env={**os.environ, **self.environment()},
            check=False,
        )
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip().splitlines()
            # mariadb prints the statement first, psql the place in it last.
            message = next((line for line in said if "ERROR" in line), said[-1] if said else "")
            raise QueryFailed(f"{PRODUCTS[self.product]}: {message or f'exit code {done.returncode}'}")
        return done.stdout.decode("utf-8")

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for the scripts of peers."""
        facts = {"url": self.url({"pg": "postgresql", "my": "mysql", "ms": "mssql"}.get(self.product, "sqlite"))}
        return {**asdict(self), **facts, "odbc": self.odbc(), "schema": self.schema()}


def servers_databases(variables: Mapping[str, str]) -> dict[tuple[str, str], Database]:
    """The databases `src` and `dst` of both servers, made anew, by product and name."""
    made = {}
    for product, prefix in (("pg", "DRAY_TEST_POSTGRESQL_"), ("my", "DRAY_TEST_MARIADB_")):
        facts = {name: variables[prefix + name.upper()] for name in ("host", "user", "password", "database")}
        port = int(variables[prefix + "PORT"])
        first = Database(product, facts["database"], facts["host"], port, facts["user"], facts["password"])
        for name in ("src", "dst"):
            first.query(f"create database {name}")
            made[product, name] = Database(product, name, facts["host"], port, facts["user"], facts["password"])
    return made


def sqlite_database(path: Path) -> Database:
    """A file."""
    return Database("sqlite", str(path))


def settle(databases: Mapping[tuple[str, str], Database]) -> None:
    """Have the servers write what they still hold, so that one run's pages are not the next one's cost.

    PostgreSQL and SQL Server have CHECKPOINT. MariaDB is told to keep no dirty pages until it has none.
    """
    for product in ("pg", "ms"):
        if (product, "dst") in databases:
            databases[product, "dst"].query("checkpoint")
    mariadb = databases["my", "dst"]
    mariadb.query("set global innodb_max_dirty_pages_pct = 0")
    deadline = time.monotonic() + SETTLE_SECONDS
    while time.monotonic() < deadline:
        if int(mariadb.query("show global status like 'Innodb_buffer_pool_pages_dirty'")[0][1]) < 50:
            break
        time.sleep(0.1)
    mariadb.query("set global innodb_max_dirty_pages_pct = 90")
    os.sync()
