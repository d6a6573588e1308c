"""How many sessions a call has open at most: a server with fewer to give would refuse the next one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from conftest import Script
from databases import Database, Databases, connect_postgresql

PARALLEL = 3


class Role:
    """A user of the PostgreSQL server who may open so many connections to all of its databases together."""

    def __init__(self) -> None:
        self.name = f"few_{os.getpid()}"
        with connect_postgresql("postgres") as server:
            server.execute(f"CREATE ROLE {self.name} LOGIN PASSWORD 'few'")

    def limit(self, connections: int) -> None:
        """To this number."""
        with connect_postgresql("postgres") as server:
            server.execute(f"ALTER ROLE {self.name} CONNECTION LIMIT {connections}")

    def odbc(self, database: Database, rights: str) -> str:
        """How this user connects to a database, with these rights in it."""
        for right in rights.split("; "):
            database.execute(f"GRANT {right} TO {self.name}")
        return re.sub("UID=[^;]*;PWD=[^;]*", f"UID={self.name};PWD=few", database.odbc)


@pytest.fixture
def role(databases: Databases) -> Iterator[Role]:
    """One that is gone after the test, with its rights in databases that are still there."""
    role = Role()
    kept = databases("postgresql")
    yield role
    for (name,) in kept.query("SELECT datname FROM pg_database WHERE datallowconn AND NOT datistemplate"):
        if name.startswith(f"test_{os.getpid()}_"):
            with connect_postgresql(name) as database:
                database.execute(f"DROP OWNED BY {role.name}")
    kept.execute(f"DROP ROLE {role.name}")


def test_sources_of_one_server_share_its_connections(databases: Databases, script: Script, role: Role) -> None:
    target = databases("mariadb")
    sources = [databases("postgresql") for _ in range(6)]
    services = {"Target": target.odbc}
    for number, source in enumerate(sources):
        for table in range(5):
            source.numbered(f"t_{number}_{table}", 10, "text ")
        services[f"Source{number}"] = role.odbc(source, "SELECT ON ALL TABLES IN SCHEMA public")
    role.limit(2 * (PARALLEL + len(sources)))
    code = f"""
        import dray
        copies = [dray.Copy(f"Source{{number}}", "*") for number in range({len(sources)})]
        print(dray.copy_tables(copies, target="Target", parallel={PARALLEL}, patience=0).rows)
    """
    done = script(code, services=services)
    assert done.stdout == "300\n", done.stderr
    assert len(target.tables()) == 30


def test_a_target_has_two_connections_for_each_table_at_a_time_and_one_more(
    databases: Databases, script: Script, role: Role
) -> None:
    target, source = databases("postgresql"), databases("mariadb")
    for table in range(12):
        source.numbered(f"t_{table}", 10, "text ")
    services = {"Source": source.odbc, "Target": role.odbc(target, "ALL ON SCHEMA public")}
    role.limit(2 * PARALLEL + 1)
    code = f"""
        import dray
        print(dray.copy_tables(dray.Copy("Source", "*"), target="Target", parallel={PARALLEL}, patience=0).rows)
    """
    done = script(code, services=services)
    assert done.stdout == "120\n", done.stderr
