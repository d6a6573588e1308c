"""The tables that are copied: their columns, their DDL for each product, and what a destination may make of a type.

Knows neither how the rows are made (`generate.py`) nor how a copy is checked (`verify.py`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Optional

LINEITEM = """l_orderkey bigint, l_partkey integer, l_suppkey integer, l_linenumber integer, l_quantity numeric(15,2),
    l_extendedprice numeric(15,2), l_discount numeric(15,2), l_tax numeric(15,2), l_returnflag char(1),
    l_linestatus char(1), l_shipdate date, l_commitdate date, l_receiptdate date, l_shipinstruct varchar(25),
    l_shipmode varchar(10), l_comment varchar(44)"""
# The types of the wide table's columns after its key, over and over.
WIDE_TYPES = ("integer", "numeric(12,4)", "varchar(20)", "date", "bigint", "double precision", "timestamp", "char(3)")
WIDE_COLUMNS = 200

# PostgreSQL's names of types, and theirs elsewhere. SQLite keeps PostgreSQL's as declared types.
MARIADB_TYPES = {
    "integer": "int",
    "double precision": "double",
    "timestamp": "datetime(6)",
    "text": "longtext",
}
SQLSERVER_TYPES = {
    "integer": "int",
    "double precision": "float",
    "timestamp": "datetime2(6)",
    "text": "nvarchar(max)",
}
INTEGER_BITS = {"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "integer": 32, "bigint": 64}
FAMILIES = {
    **dict.fromkeys(INTEGER_BITS, "integer"),
    **dict.fromkeys(("numeric", "decimal"), "decimal"),
    **dict.fromkeys(("real", "float", "double", "double precision"), "float"),
    **dict.fromkeys(("char", "character", "varchar", "character varying", "text"), "text"),
    **dict.fromkeys(("tinytext", "mediumtext", "longtext", "nchar", "nvarchar"), "text"),
    "date": "date",
    **dict.fromkeys(("timestamp", "timestamp without time zone", "datetime", "datetime2"), "timestamp"),
}


@dataclass(frozen=True)
class Column:
    """One column; `type` in PostgreSQL's words."""

    name: str
    type: str
    nullable: bool = False

    @property
    def family(self) -> str:
        """integer, decimal, float, text, date or timestamp."""
        return FAMILIES[self.base]

    @property
    def base(self) -> str:
        """The type without its length."""
        return self.type.partition("(")[0]

    @property
    def lengths(self) -> tuple[int, ...]:
        """What stands in the type's parentheses."""
        return tuple(int(number) for number in re.findall(r"\d+", self.type))


@dataclass(frozen=True)
class MadeColumn:
    """A column of a destination table, as that database's information_schema has it; lengths are None if unlimited."""

    name: str
    type: str
    characters: Optional[int]
    precision: Optional[int]
    scale: Optional[int]


@dataclass(frozen=True)
class Dataset:
    """Tables of one shape, `rows` in each. `sum_column` is the one whose sum is looked at after every single copy.
    `primary_key`: the columns of one.
    """

    name: str
    tables: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: int
    sum_column: str
    primary_key: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Name and size, for files and results."""
        size = str(self.rows) if len(self.tables) == 1 else f"{len(self.tables)}x{self.rows}"
        return f"{self.name}-{size}"

    def ddl(self, table: str, product: str) -> str:
        """The CREATE TABLE of one of the tables for `pg`, `my`, `ms` or `sqlite`."""
        parts = []
        for column in self.columns:
            words = column.type
            if product == "my":
                words = MARIADB_TYPES.get(column.type, column.type.replace("numeric", "decimal"))
            elif product == "ms":
                national = "n" if column.base in ("char", "varchar") else ""
                words = SQLSERVER_TYPES.get(column.type, national + column.type)
            parts.append(f"{column.name} {words}{'' if column.nullable else ' not null'}")
        if self.primary_key:
            parts.append(f"primary key ({', '.join(self.primary_key)})")
        return f"create table {table} ({', '.join(parts)})"


def lineitem(rows: int) -> Dataset:
    """The fact table of TPC-H, 16 columns. The table's name tells the size, so that several lie side by side."""
    return Dataset("lineitem", (f"lineitem_{rows}",), columns_of(LINEITEM), rows, "l_extendedprice")


def keyed(rows: int) -> Dataset:
    """lineitem with its primary key, which every product can part it by."""
    key = ("l_orderkey", "l_linenumber")
    return Dataset("keyed", (f"keyed_{rows}",), columns_of(LINEITEM), rows, "l_extendedprice", key)


def wide(rows: int) -> Dataset:
    """200 columns of 8 types, a tenth of the cells NULL."""
    columns = [Column("id", "bigint")]
    for number in range(1, WIDE_COLUMNS):
        columns.append(Column(f"c{number:03}", WIDE_TYPES[(number - 1) % len(WIDE_TYPES)], nullable=True))
    return Dataset("wide", (f"wide_{rows}",), tuple(columns), rows, "c002")


def long_text(rows: int) -> Dataset:
    """A text of 20,000 characters a row."""
    return Dataset("long", (f"long_{rows}",), columns_of("id bigint, title varchar(100), body text"), rows, "id")


def small_tables(tables: int, rows: int) -> Dataset:
    """Many tables of few rows."""
    columns = columns_of("id integer, name varchar(40), amount numeric(12,2), day date, note text")
    names = tuple(f"small_{number:03}" for number in range(1, tables + 1))
    return Dataset("small", names, columns, rows, "amount")


def columns_of(text: str) -> tuple[Column, ...]:
    """Columns out of `name type, name type`; a comma within parentheses does not part them."""
    parts = (part.strip() for part in re.split(r",(?![^(]*\))", text))
    return tuple(Column(*part.split(None, 1)) for part in parts)


def type_fault(source: Column, made: MadeColumn) -> Optional[str]:
    """Why the type of a destination column is wrong for what the source column may hold; None if it will do.

    Wider types will do (text for varchar, bigint for integer), those of another family will not.
    """
    if FAMILIES.get(made.type) != source.family:
        return f"{source.name}: {source.type} became {made.type}"
    narrower = False
    if source.family == "integer":
        narrower = INTEGER_BITS[made.type] < INTEGER_BITS[source.base]
    elif source.family == "decimal" and made.precision is not None:
        precision, scale = source.lengths
        made_scale = made.scale or 0
        narrower = made_scale < scale or made.precision - made_scale < precision - scale
    elif source.family == "text" and made.characters is not None:
        narrower = not source.lengths or made.characters < source.lengths[0]
        narrower = narrower and made.characters < 2**20  # MariaDB gives its text types a length of bytes here
    elif source.family == "float":
        narrower = made.type in ("real", "float")
    if not narrower:
        return None
    size = made.characters if source.family == "text" else f"{made.precision},{made.scale}"
    return f"{source.name}: {source.type} became the narrower {made.type}({size})"


def total_rows(dataset: Dataset) -> int:
    """Rows of all tables."""
    return dataset.rows * len(dataset.tables)


def select_list(columns: Sequence[Column]) -> str:
    """The names of the columns, for a SELECT."""
    return ", ".join(column.name for column in columns)
