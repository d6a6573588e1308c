"""What goes wrong beside SQL Server and what it costs: killed runs, lines that break, memory.

Runs where DRAY_TEST_MSSQL leads to a database that may be emptied.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pyodbc
import pytest
from conftest import AT_LENGTH
from copying import Copying
from cut_line import Line, line_to
from databases import Databases, Sqlserver
from test_copy_again import wait_for
from test_sqlserver_copies import WAYS, by, server

__all__ = ["server"]  # the fixture

# More than what is said before rows go over a line.
TALK_BYTES = 1 << 20


@pytest.fixture
def line(server: Sqlserver) -> Iterator[Line]:
    """A line to the server, over which copies go."""
    found = re.search(r"Server=([^,;]+),?(\d*)", server.odbc)
    assert found is not None
    with line_to(found[1], int(found[2] or 1433)) as made:
        server.odbc = server.odbc.replace(found[0], f"Server=127.0.0.1,{made.port}")
        server.freetds = re.sub(r"Server=[^;]*;Port=\d+", f"Server=127.0.0.1;Port={made.port}", server.freetds)
        yield made


def once_free(server: Sqlserver, query: str) -> list[tuple[Any, ...]]:
    """The rows of a query, as soon as the server has seen that a session which holds its table is gone."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return server.query(query)
        except pyodbc.Error:
            assert time.monotonic() < deadline, "the load still holds the table"
            time.sleep(0.5)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mode", ["truncate", "replace"])
@pytest.mark.parametrize("way", WAYS)
def test_a_copy_that_is_killed_leaves_the_table_as_it_was(
    databases: Databases, server: Sqlserver, line: Line, copying: Copying, way: str, mode: str
) -> None:
    source = databases("sqlite")
    rows = 2_000_000 if way == "auto" else 100_000  # more than go in until it is killed
    source.numbered("t", rows, "some text to carry over, and a number: ")
    server.execute("CREATE TABLE t (id int, square bigint, note nvarchar(100))")
    server.execute("INSERT INTO t VALUES (0, 0, N'old')")
    process = copying.start(source, server, mode=mode, **by(server, way))
    wait_for(lambda: line.sent > TALK_BYTES, process)
    process.kill()
    process.communicate()
    assert once_free(server, "SELECT id, note FROM t") == [(0, "old")]
    assert server.tables() == {"t"}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_a_load_whose_line_breaks_is_taken_back_and_tried_again(
    databases: Databases, server: Sqlserver, line: Line, copying: Copying, way: str
) -> None:
    source = databases("sqlite")
    rows = 15_000
    source.numbered("t", rows, "some text to carry over " * 5)
    server.execute("CREATE TABLE t (id int NOT NULL PRIMARY KEY, square bigint, note nvarchar(200))")
    line.cut_after_sent = TALK_BYTES
    options = by(server, way)
    error = copying(source, server, mode="append", patience=0, **options).error("t")
    assert error is not None and error["code"] == "database.connection_lost", error
    assert (line.cuts, once_free(server, "SELECT COUNT(*) FROM t")) == (1, [(0,)])
    line.cut_after_sent = TALK_BYTES
    copied = copying(source, server, mode="append", **options)
    assert (copied.error("t"), len(copied.tables["t"]["retries"]), line.cuts) == (None, 1, 2)
    assert server.query("SELECT COUNT(*), MAX(id) FROM t") == [(rows, rows)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["odbc", "freetds"])
def test_a_line_that_breaks_while_rows_are_read_is_an_error_or_tried_again(
    databases: Databases, server: Sqlserver, line: Line, copying: Copying, way: str
) -> None:
    target = databases("postgresql")
    server.numbered("t", 20_000, "some text to carry over " * 5)
    target.execute("CREATE TABLE t (id int, square bigint, note text)")
    line.cut_after_received = TALK_BYTES
    options = by(server, way)
    error = copying(server, target, mode="append", patience=0, **options).error("t")
    assert error is not None and error["code"] == "database.connection_lost", error
    assert (error["side"], line.cuts, target.count("t")) == ("source", 1, 0)
    line.cut_after_received = TALK_BYTES
    copied = copying(server, target, mode="append", **options)
    assert (copied.error("t"), len(copied.tables["t"]["retries"]), line.cuts) == (None, 1, 2)
    assert target.query("SELECT count(*), max(id) FROM t") == [(20_000, 20_000)]


# Megabytes of text, in rows of 4 KB.
SIZES = [100, 300] if AT_LENGTH else [30, 90]
MEASURED = pytest.mark.parametrize("megabytes", SIZES)


@pytest.mark.alone
@pytest.mark.timeout(1200)
@MEASURED
@pytest.mark.parametrize("way", ["auto", "freetds"])
def test_memory_keeps_its_bound_whatever_the_size_of_what_is_read(
    databases: Databases, server: Sqlserver, copying: Copying, way: str, megabytes: int
) -> None:
    server.numbered("numbers", megabytes * 256, "")
    server.execute("CREATE TABLE t (id int, note nvarchar(4000))")
    server.execute("INSERT INTO t SELECT id, REPLICATE(N'x', 4000) FROM numbers")
    target = databases("postgresql")
    copied = copying(server, target, "t", memory_limit="64MiB", timeout=1000, **by(server, way))
    assert copied.error("t") is None
    assert target.count("t") == megabytes * 256
    assert copied.growth_kib < 96 << 10


@pytest.mark.alone
@pytest.mark.timeout(1200)
@MEASURED
@pytest.mark.parametrize("way", ["auto", "freetds"])
def test_memory_keeps_its_bound_whatever_the_size_of_what_is_loaded(
    databases: Databases, server: Sqlserver, copying: Copying, way: str, megabytes: int
) -> None:
    source = databases("postgresql")
    source.numbered("t", megabytes * 256, "x" * 3_990)
    server.execute("CREATE TABLE t (id int, square bigint, note nvarchar(4000))")
    copied = copying(source, server, "t", memory_limit="64MiB", timeout=1000, **by(server, way))
    assert copied.error("t") is None
    assert server.count("t") == megabytes * 256
    assert copied.growth_kib < 96 << 10
