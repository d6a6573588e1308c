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


@pytest.mark.parametrize("run_id", ["", "one"], ids=["no_journal", "journal"])
def test_tables_are_looked_at_again_if_the_session_is_lost_that_would_have_made_them_certain(
    databases: Databases, script: Script, server: Mapping[str, str], run_id: str
) -> None:
    source = databases("sqlite")
    names = [f"{run_id}d{number}" for number in range(4)]
    for name in names:
        source.numbered(name, 20, "row ")
    last = names[-1]
    with connect(server) as client:
        # Of the sessions that do nothing the oldest is the one that no table is loaded on. It is ended once.
        client.execute(f"CREATE SEQUENCE {last}_ended")
        client.execute(
            f"""
            CREATE FUNCTION lose_{last}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('{last}_ended') = 1 THEN
                    PERFORM pg_terminate_backend(pid) FROM (SELECT pid FROM pg_stat_activity
                        WHERE datname = 'dray' AND state = 'idle' AND pid NOT IN (pg_backend_pid(), {client.info.backend_pid})
                        ORDER BY backend_start LIMIT 1) AS oldest;
                END IF;
                RETURN NULL; END $$"""
        )
        client.execute(f"CREATE TABLE {last} (id integer, square bigint, note text)")
        client.execute(f"CREATE TRIGGER loses AFTER INSERT ON {last} FOR EACH STATEMENT EXECUTE FUNCTION lose_{last}()")
    code = f"""
        import dray, json
        copies = dray.Copy("Source", {names!r})
        try:
            report = dray.copy_tables(copies, target="Target", parallel=1, run_id={run_id!r})
        except dray.CopyError as error:
            report = error.report
        for table in report.tables:
            print(json.dumps([table.target, table.rows, table.error and table.error["code"]]))
    """
    done = script(code, services={"Source": source.odbc, "Target": server["DRAY_TEST_POSTGRESQL"]})
    told = {name: (rows, code) for name, rows, code in map(json.loads, done.stdout.splitlines())}
    assert "copy.not_settled" in done.stderr
    if run_id:
        assert told == dict.fromkeys(names, (20, None)), done.stderr
    else:
        assert told[last] == (0, "copy.not_settled")
        # Those before it were made certain, or not, as time would have it.
        assert {told[name] for name in names} <= {(20, None), (0, "copy.not_settled")}
    with connect(server) as client:
        for name in names:
            assert client.execute(f"SELECT count(*), count(DISTINCT id) FROM {name}").fetchone() == (20, 20)
