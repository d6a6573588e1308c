"""Commits that do not wait for the disk, one by one: what is told to be copied outlives a server that goes down."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
import pytest
import servers
from conftest import Script
from databases import Databases

TABLES = 12
CODE = f"""
    import dray, json
    report = dray.copy_tables(dray.Copy("Source", [f"t{{i}}" for i in range({TABLES})]), target="Target")
    print(json.dumps([[table.target, table.rows] for table in report.tables]))
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Mapping[str, str]]:
    """A server that writes what was committed without waiting only after many seconds, unless it is told to."""
    with servers.postgresql_alone(
        {"synchronous_commit": "on", "wal_writer_delay": "10s", "autovacuum": "off"}
    ) as variables:
        yield variables


def connect(server: Mapping[str, str]) -> psycopg.Connection[Any]:
    """A client that shares nothing with dray."""
    prefix = "DRAY_TEST_POSTGRESQL_"
    names = {"host": "HOST", "port": "PORT", "dbname": "DATABASE", "user": "USER", "password": "PASSWORD"}
    return psycopg.connect(autocommit=True, **{name: server[prefix + suffix] for name, suffix in names.items()})


def crash(server: Mapping[str, str]) -> psycopg.Connection[Any]:
    """Have the server lose its memory: one of its processes is killed, so it ends all others and recovers from its log."""
    killed, other = connect(server), connect(server)
    os.kill(killed.info.backend_pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    with contextlib.suppress(psycopg.OperationalError):
        while time.monotonic() < deadline:
            other.execute("SELECT pg_sleep(0.01)")
    killed.close()
    other.close()
    while True:
        try:
            return connect(server)
        except psycopg.OperationalError:
            assert time.monotonic() < deadline
            time.sleep(0.05)


def test_tables_that_are_told_to_be_copied_outlive_a_crash_of_the_server(
    databases: Databases, script: Script, server: Mapping[str, str]
) -> None:
    source = databases("sqlite")
    for number in range(TABLES):
        source.numbered(f"t{number}", 20, "row ")
    done = script(CODE, services={"Source": source.odbc, "Target": server["DRAY_TEST_POSTGRESQL"]})
    with crash(server) as client:
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [[f"t{number}", 20] for number in range(TABLES)]
        for number in range(TABLES):
            rows = client.execute(f"SELECT id, square, note FROM t{number} ORDER BY id").fetchall()
            assert rows == [(row, row * row, f"row {row}") for row in range(1, 21)]


def test_a_table_has_failed_if_the_session_is_lost_that_would_have_made_it_certain(
    databases: Databases, script: Script, server: Mapping[str, str]
) -> None:
    source = databases("sqlite")
    names = ["d0", "d1", "d2", "d3"]
    for name in names:
        source.numbered(name, 20, "row ")
    with connect(server) as client:
        # Of the sessions that do nothing the oldest is the one that no table is loaded on.
        client.execute(
            f"""
            CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                PERFORM pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
                    WHERE datname = 'dray' AND state = 'idle' AND pid NOT IN (pg_backend_pid(), {client.info.backend_pid})
                    ORDER BY backend_start LIMIT 1) AS oldest;
                RETURN NULL; END $$"""
        )
        client.execute("CREATE TABLE d3 (id integer, square bigint, note text)")
        client.execute("CREATE TRIGGER loses AFTER INSERT ON d3 FOR EACH STATEMENT EXECUTE FUNCTION lose()")
    code = f"""
        import dray, json
        try:
            dray.copy_tables(dray.Copy("Source", {names!r}), target="Target", parallel=1)
        except dray.CopyError as error:
            told = [[table.target, table.rows, table.error and table.error["code"]] for table in error.report.tables]
            print(json.dumps(told))
            raise
    """
    done = script(code, services={"Source": source.odbc, "Target": server["DRAY_TEST_POSTGRESQL"]})
    assert done.returncode == 1, done.stderr
    told = {name: (rows, code) for name, rows, code in json.loads(done.stdout)}
    assert told["d3"] == (0, "copy.not_settled")
    # Those before it were made certain, or not, as time would have it.
    assert {told[name] for name in names} <= {(20, None), (0, "copy.not_settled")}
    assert "the connection that makes it certain was lost" in done.stderr
