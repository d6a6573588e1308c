"""Whether a copy is right: rows, a sum, a checksum over every value, and the types of the columns.

Asked of the databases by their own clients. The checksum takes the values in the source's types, so that a number that
arrived as another type is compared as a number; the types themselves are judged apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from datasets import Column, Dataset, MadeColumn, type_fault

from database import Database, QueryFailed

SHOWN_FAULTS = 3


@dataclass(frozen=True)
class Content:
    """What a table holds: rows, the sum of one column, and a checksum of all values if it was asked for."""

    rows: int
    total: str
    checksum: Optional[str] = None


@dataclass(frozen=True)
class Verdict:
    """What was found wrong with a copy; nothing, if it is right."""

    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        more = len(self.faults) - SHOWN_FAULTS
        return "; ".join(self.faults[:SHOWN_FAULTS]) + (f"; and {more} more" if more > 0 else "")


def read(database: Database, dataset: Dataset, schema: str, *, checksum: bool) -> dict[str, Content]:
    """The content of every table of a dataset; `checksum` reads every value."""
    checksums = row_checksum(database.product, dataset.columns) if checksum else "null"
    sum_column = next(column for column in dataset.columns if column.name == dataset.sum_column)
    total = value_text(database.product, sum_column, f"sum({number(database.product, sum_column)})")
    parts = [f"select '{table}', count(*), {total}, {checksums} from {schema}.{table}" for table in dataset.tables]
    found = {}
    for name, rows, text, code in database.query(" union all ".join(parts)):
        found[name] = Content(int(rows), text, code if checksum else None)
    return found


def check(database: Database, dataset: Dataset, schema: str, expected: Mapping[str, Content], *, full: bool) -> Verdict:
    """Compare a destination with what its source holds. Without `full` only rows and sums are looked at."""
    faults = []
    try:
        faults = type_faults(dataset, columns_in(database, schema)) if full else []
        found = read(database, dataset, schema, checksum=full)
    except QueryFailed as error:
        return Verdict([*faults, str(error)])
    return Verdict([*faults, *content_faults(expected, found)])


def content_faults(expected: Mapping[str, Content], found: Mapping[str, Content]) -> list[str]:
    """How the content of the tables differs."""
    faults = []
    for table, right in expected.items():
        arrived = found.get(table)
        if arrived is None:
            faults.append(f"{table} is missing")
        elif arrived.rows != right.rows:
            faults.append(f"{arrived.rows} rows of {right.rows} in {table}")
        elif arrived.total != right.total:
            faults.append(f"sum {arrived.total} for {right.total} in {table}")
        elif arrived.checksum is not None and arrived.checksum != right.checksum:
            faults.append(f"values differ in {table}")
    return faults


def type_faults(dataset: Dataset, made: Mapping[str, Mapping[str, MadeColumn]]) -> list[str]:
    """Columns that are missing or of a wrong type; for a dataset of many tables, those of the first that has any."""
    for table in dataset.tables:
        faults = []
        for column in dataset.columns:
            found = made.get(table, {}).get(column.name)
            fault = f"{column.name} is missing" if found is None else type_fault(column, found)
            if fault is not None:
                faults.append(fault)
        if faults:
            return faults
    return []


def columns_in(database: Database, schema: str) -> dict[str, dict[str, MadeColumn]]:
    """The columns of each table of a schema, as information_schema has them."""
    columns = "table_name, column_name, data_type, character_maximum_length, numeric_precision, numeric_scale"
    rows = database.query(f"select {columns} from information_schema.columns where table_schema = '{schema}'")
    tables: dict[str, dict[str, MadeColumn]] = {}
    for table, name, data_type, *lengths in rows:
        characters, precision, scale = (int(length) if length.isdecimal() else None for length in lengths)
        tables.setdefault(table, {})[name] = MadeColumn(name, data_type, characters, precision, scale)
    return tables


def row_checksum(product: str, columns: tuple[Column, ...]) -> str:
    """An aggregate that depends on every value of every row, not on the order of rows, and is the same number in each
    product: the sum of 48 bits of each row's MD5. In SQL Server it is so for text of ASCII.
    """
    texts = [value_text(product, column, number(product, column)) for column in columns]
    if product == "pg":
        row = f"array_to_string(array[{', '.join(texts)}], '|', '~')"
        return f"sum(('x' || substr(md5({row}), 1, 12))::bit(48)::bigint)"
    if product == "ms":
        row = f"concat_ws('|', {', '.join(f'''coalesce({text}, '~')''' for text in texts)})"
        return f"sum(cast(cast(substring(hashbytes('md5', {row}), 1, 6) as bigint) as decimal(38, 0)))"
    row = f"concat_ws('|', {', '.join(f'''ifnull({text}, '~')''' for text in texts)})"
    return f"sum(cast(conv(substr(md5({row}), 1, 12), 16, 10) as unsigned))"


def number(product: str, column: Column) -> str:
    """A column in its source's type."""
    if column.family == "text":
        return column.name
    if product == "pg":
        return f"{column.name}::{column.type}"
    if product == "ms":
        types = {"integer": "bigint", "float": "float", "timestamp": "datetime2(6)"}
        return f"cast({column.name} as {types.get(column.family, column.type)})"
    types = {"integer": "signed", "float": "double", "timestamp": "datetime(6)"}
    return f"cast({column.name} as {types.get(column.family, column.type.replace('numeric', 'decimal'))})"


def value_text(product: str, column: Column, expression: str) -> str:
    """An expression as text."""
    if product == "pg":
        return f"({expression})::text"
    return f"cast({expression} as {'varchar(max)' if product == 'ms' else 'char'})"
