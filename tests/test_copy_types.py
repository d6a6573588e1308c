"""The page of types is true of real databases: a table of all the types that it lists becomes, in each product, what the
page says; nullability and keys come along.
"""

from __future__ import annotations

import re

import pytest
from conftest import ROOT
from copying import LANES, Copying
from databases import DIRECTIONS, Database, Databases

TITLES = {"PostgreSQL": "postgresql", "MariaDB": "mariadb", "SQLite": "sqlite", "SQL Server": "sqlserver"}

# How a product's catalog tells the columns of table `t`: name, type, whether NULL is allowed; without the name's sizes
# that a product adds itself.
CATALOG = {
    "postgresql": "SELECT attname, format_type(atttypid, atttypmod), NOT attnotnull FROM pg_attribute "
    "WHERE attrelid = '{}'::regclass AND attnum > 0 ORDER BY attnum",
    "mariadb": "SELECT column_name, column_type, is_nullable FROM information_schema.columns "
    "WHERE table_schema = DATABASE() AND table_name = '{}' ORDER BY ordinal_position",
    "sqlite": "SELECT name, type, \"notnull\" FROM pragma_table_info('{}')",
}


def made() -> dict[tuple[str, str], list[tuple[str, str]]]:
    """By source and target product: each type of the source, and the one that it becomes, from the page's first tables."""
    page = (ROOT / "src" / "database" / "TYPES.md").read_text("utf-8")
    found: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for table in re.findall(r"in a table that dray creates\.\n\n((?:\|.*\n)+)", page):
        header, _, *lines = [[cell.strip() for cell in line.strip("|\n").split(" | ")] for line in table.splitlines()]
        for line in lines:
            for title, cell in zip(header[1:], line[1:]):
                if title in TITLES:
                    way = TITLES[header[0].strip("| ")], TITLES[title]
                    found.setdefault(way, []).append((line[0].strip("|` "), cell.strip("|` ")))
    return found


def columns_of(database: Database, table: str) -> list[tuple[object, ...]]:
    """The columns of a table as the catalog tells them."""
    return [tuple(row) for row in database.query(CATALOG[database.product].format(table))]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), DIRECTIONS)
def test_every_type_becomes_what_the_page_says(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
) -> None:
    pages = made()
    if source_product == target_product:
        # Within a product a type keeps its own words.
        types = sorted({kind for way, lines in pages.items() if way[0] == source_product for kind, _ in lines})
        lines = [(kind, kind) for kind in types]
    else:
        lines = pages[source_product, target_product]
    assert len(lines) > 15, "the page was not understood"
    source, target = databases(source_product), databases(target_product)
    left = {"id": "INTEGER NOT NULL PRIMARY KEY", "must": "INTEGER NOT NULL"}
    # A TIMESTAMP of MariaDB is NOT NULL where nothing is said.
    nullable = {"mariadb": {"timestamp", "timestamp(6)"}}
    for number, (kind, _) in enumerate(lines):
        left[f"c{number}"] = kind + (" NULL" if kind in nullable.get(source_product, ()) else "")
    integer = {"postgresql": "bigint", "mariadb": "bigint", "sqlite": "INTEGER"}
    kept = integer[target_product] if source_product == "sqlite" else "INTEGER"
    kept = "INTEGER" if source_product == target_product else kept
    right = {"id": f"{kept} NOT NULL PRIMARY KEY", "must": f"{kept} NOT NULL"}
    for number, (_, kind) in enumerate(lines):
        right[f"c{number}"] = kind + (" NULL" if kind in nullable.get(target_product, ()) else "")
    source.execute(f"CREATE TABLE t ({source.columns(left)})")
    target.execute(f"CREATE TABLE expected ({target.columns(right)})")
    assert copying(source, target, "t", lanes=lanes).error("t") is None
    assert columns_of(target, "t") == columns_of(target, "expected")
