"""Long text and long bytes: whole up to 16 MiB within the default memory, whole beyond it where the limit is raised,
and otherwise refused with the limit's name.
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from conftest import AT_LENGTH
from copying import LANES, Copying
from databases import SOME_DIRECTIONS, Database, Databases

LENGTHS_BYTES = [0, 1, 2, 65_535, 65_536, 1 << 20, (1 << 24) - 1, 1 << 24]

BUDGET_KIB = 256 * 1024

HUGE_BYTES = 200_000_000

# More than any lane's part of the default memory limit.
TOO_LONG_BYTES = 100_000_000

# The types of a long text and of long bytes.
LONG = {"sqlite": ("TEXT", "BLOB"), "postgresql": ("text", "bytea"), "mariadb": ("LONGTEXT", "LONGBLOB")}


def long_text(length_bytes: int) -> str:
    """Text of that many bytes in UTF-8, no part of which is like another."""
    chosen = random.Random(length_bytes)
    piece = "".join(chosen.choices("aé日🎉\\\n'\t x", k=70_000))
    text = "".join(f"{number}{piece}" for number in range(length_bytes // len(piece.encode()) + 1))
    encoded = text.encode()[:length_bytes].decode("utf-8", "ignore")
    return encoded + "." * (length_bytes - len(encoded.encode()))


def rows() -> list[tuple[Any, ...]]:
    """One long cell a row, and small ones around it."""
    texts = [(number, long_text(length), None, number) for number, length in enumerate(LENGTHS_BYTES)]
    data = [(100 + n, None, random.Random(n).randbytes(length), -n) for n, length in enumerate(LENGTHS_BYTES)]
    return [*texts, *data, (999, "last", b"last", 999)]


def digest(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """A row with short stand-ins for its long cells."""
    return tuple(
        (type(cell).__name__, len(cell), hashlib.sha256(cell.encode() if isinstance(cell, str) else cell).hexdigest())
        if isinstance(cell, (str, bytes))
        else cell
        for cell in row
    )


@pytest.fixture(scope="module")
def sources(module_databases: Databases) -> dict[str, Database]:
    """A database of each product with the long cells in it."""
    made = {}
    for product, (text, data) in LONG.items():
        made[product] = module_databases(product)
        types = {"id": "INTEGER NOT NULL PRIMARY KEY", "a": text, "b": data, "c": "INTEGER"}
        made[product].fill("t", types, rows())
    return made


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), SOME_DIRECTIONS)
def test_cells_of_up_to_16_mib_arrive_whole_within_the_default_memory(
    sources: dict[str, Database],
    databases: Databases,
    copying: Copying,
    source_product: str,
    target_product: str,
    lanes: str,
) -> None:
    target = databases(target_product)
    copied = copying(sources[source_product], target, lanes=lanes)
    assert copied.error("t") is None
    arrived = [digest(tuple(row)) for row in target.query("SELECT id, a, b, c FROM t ORDER BY id")]
    assert arrived == [digest(row) for row in rows()]
    # The generic lane's drivers of MariaDB and SQLite hold the whole result; its plan says so.
    if lanes == "auto" or source_product == "postgresql":
        assert copied.growth_kib < BUDGET_KIB, f"{copied.growth_kib / 1024:.0f} MiB"


# SELECTs of one row with such a cell, which take the server no more than three times its length.
HUGE = {
    "postgresql": (
        "SELECT 7 AS id, repeat('x', {0} - 1) || 'y' AS a, NULL::bytea AS b",
        "SELECT 7 AS id, NULL::text AS a, convert_to(repeat('x', {0} - 1) || 'y', 'UTF8') AS b",
    ),
    "sqlite": (
        "SELECT 7 AS id, printf('%.*c', {0} - 1, 'x') || 'y' AS a, CAST(NULL AS BLOB) AS b",
        "SELECT 7 AS id, CAST(NULL AS TEXT) AS a, zeroblob({0}) AS b",
    ),
}


def make_huge(database: Database, column: str, length_bytes: int) -> None:
    """A table with one cell of so many bytes."""
    text, data = LONG[database.product]
    declared = database.columns({"id": "INTEGER", "a": text, "b": data})
    database.execute(f"CREATE TABLE t ({declared})")
    database.execute("INSERT INTO t " + HUGE[database.product][0 if column == "a" else 1].format(length_bytes))


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("column", ["a", "b"])
@pytest.mark.parametrize("source_product", ["sqlite", "postgresql"])
def test_a_cell_that_the_memory_has_no_room_for_is_refused_with_what_it_would_take(
    databases: Databases, copying: Copying, source_product: str, column: str, lanes: str
) -> None:
    source, target = databases(source_product), databases("sqlite" if source_product == "postgresql" else "postgresql")
    make_huge(source, column, TOO_LONG_BYTES)
    copied = copying(source, target, lanes=lanes)
    error = copied.error("t")
    assert error is not None
    assert (error["code"], error["row"]) == ("copy.over_memory_limit", 1), error
    assert error["column"] == column or lanes == "odbc"
    assert "memory_limit" in error["hint"]
    assert target.tables() == set()


# Where it can be done; `make test-long` has a text and bytes of each, and `make test` those behind.
HUGE_CELLS = [("postgresql", "postgresql"), ("postgresql", "sqlite"), ("sqlite", "postgresql"), ("sqlite", "mariadb")]
SOME_HUGE_CELLS = [("postgresql", "postgresql", "a"), ("sqlite", "mariadb", "b")]


# Two of these at once, with the servers' own copies of the cell, are more than a machine of 4 GB has.
@pytest.mark.alone
@pytest.mark.parametrize(
    ("source_product", "target_product", "column"),
    [(*pair, column) for pair in HUGE_CELLS for column in "ab"] if AT_LENGTH else SOME_HUGE_CELLS,
)
def test_a_cell_of_200_mb_arrives_where_the_memory_allows_it(
    databases: Databases, copying: Copying, source_product: str, target_product: str, column: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    make_huge(source, column, HUGE_BYTES)
    copied = copying(source, target, memory_limit="2GiB")
    error = copied.error("t")
    if error is not None and target_product == "mariadb":
        # The server takes no more than that in one piece.
        assert "max_allowed_packet" in error["message"]
        assert target.tables() == set()
        return
    assert error is None
    ((number, cell),) = target.query(f"SELECT id, {column} FROM t")
    ((expected_number, expected),) = source.query(f"SELECT id, {column} FROM t")
    assert number == expected_number
    assert digest((cell,)) == digest((expected,))
