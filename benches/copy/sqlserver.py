"""The SQL Server that the environment variable DRAY_TEST_MSSQL leads to, an ODBC connection string, without a driver,
of a database that may be emptied. Without the variable the bench has no routes from and to SQL Server.

Sources lie in a schema of their own, as there is one database only. `sqlserver_client.py` is the client: Microsoft's is
no package of Debian.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from database import Database

GIVEN = os.environ.get("DRAY_TEST_MSSQL", "")
# An unqualified name means the destination: `dbo` is the default of the login.
SCHEMAS = {"src": "src", "dst": "dbo"}


@dataclass(frozen=True)
class Sqlserver(Database):
    """One schema of the database. `others` are the attributes of the connection string that say neither who nor where;
    `python` is an interpreter that has pyodbc.
    """

    in_schema: str = ""
    driver: str = ""
    others: str = ""
    python: str = ""

    def odbc(self, options: str = "") -> str:
        where = f"Server={self.host},{self.port};Database={self.name};UID={self.user};PWD={self.password}"
        return f"Driver={{{self.driver}}};{where};{self.others}{options}"

    def schema(self) -> str:
        return self.in_schema

    def client(self, *arguments: str) -> list[str]:
        return [self.python, str(Path(__file__).with_name("sqlserver_client.py")), *arguments]

    def environment(self) -> dict[str, str]:
        return {"BENCH_SQLSERVER": self.odbc()}

    def empty(self) -> None:
        """Drop all tables of the schema."""
        found = self.query(f"select name from sys.tables where schema_id = schema_id('{self.in_schema}')")
        if found:
            self.query("".join(f"drop table {self.in_schema}.[{name}]; " for (name,) in found))


def from_connection_string(given: str, schema: str, driver: Path, python: Path) -> Sqlserver:
    """A schema of the database that a connection string leads to."""
    attributes = dict(pair.split("=", 1) for pair in given.split(";") if pair)
    host, _, port = attributes.pop("Server").partition(",")
    name, user, password = (attributes.pop(key) for key in ("Database", "UID", "PWD"))
    others = "".join(f"{key}={value};" for key, value in attributes.items())
    return Sqlserver("ms", name, host, int(port or 1433), user, password, schema, str(driver), others, str(python))


def databases(environment: Path) -> Mapping[tuple[str, str], Sqlserver]:
    """The source and the destination, empty, by product and name, for the virtual environment that has their driver."""
    packages = "lib/python*/site-packages/mssql_python_odbc"
    driver = next(environment.glob(f"{packages}/libs/linux/debian_ubuntu/x86_64/lib/libmsodbcsql-*"))
    python = environment / "bin" / "python"
    made = {("ms", end): from_connection_string(GIVEN, schema, driver, python) for end, schema in SCHEMAS.items()}
    made["ms", "src"].query(f"if schema_id('{SCHEMAS['src']}') is null exec('create schema {SCHEMAS['src']}')")
    for one in made.values():
        one.empty()
    return made
