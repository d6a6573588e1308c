"""Exact or refused: where a value cannot be kept as it is, the copy of its table fails, says where, leaves nothing."""

from __future__ import annotations

import datetime
import math
import re
from decimal import Decimal
from typing import Any

import pytest
from conftest import Script
from databases import DIRECTIONS, Databases
from exact_values import as_decimal

COPY = """
    import dray
    dray.copy_table("Source", "Target", "t")
"""

# What is in the source (product, SQL type, value), and the table that is already at the destination (product, SQL type)
# which would keep something else, in silence if it were let: each of these was seen to round, cut or convert.
TOO_NARROW = {
    "a decimal's last digit": ("postgresql", "numeric(10,2)", Decimal("1.25"), "postgresql", "numeric(10,1)"),
    "a decimal's last digit in mariadb": ("postgresql", "numeric(10,2)", Decimal("1.25"), "mariadb", "DECIMAL(10,1)"),
    "a decimal into a whole number": ("postgresql", "numeric(10,2)", Decimal("1.25"), "mariadb", "INT"),
    "a decimal into a double": (
        "mariadb",
        "DECIMAL(38,10)",
        Decimal("1234567890123456789.0000000001"),
        "mariadb",
        "DOUBLE",
    ),
    "a decimal into sqlite's numeric": (
        *("postgresql", "numeric(38,10)", Decimal("1234567890123456789.0000000001")),
        *("sqlite", "DECIMAL(38,10)"),
    ),
    "a double into a single": ("postgresql", "double precision", 0.1, "postgresql", "real"),
    "a double into mariadb's single": ("sqlite", "DOUBLE", 0.1, "mariadb", "FLOAT"),
    "a double into a whole number": ("postgresql", "double precision", 1.5, "mariadb", "BIGINT"),
    "a whole number too large": ("sqlite", "BIGINT", 2147483648, "postgresql", "integer"),
    "a whole number too large for mariadb": ("postgresql", "bigint", 2147483648, "mariadb", "INT"),
    "a negative number into an unsigned one": ("postgresql", "integer", -1, "mariadb", "INT UNSIGNED"),
    "a whole number into a double": ("sqlite", "BIGINT", 9007199254740993, "postgresql", "double precision"),
    "text too long": ("sqlite", "TEXT", "abcd", "postgresql", "varchar(3)"),
    "text too long for mariadb": ("postgresql", "text", "abcd", "mariadb", "VARCHAR(3)"),
    "blanks too many": ("sqlite", "TEXT", "abc   ", "postgresql", "varchar(3)"),
    "blanks too many for mariadb": ("sqlite", "TEXT", "abc   ", "mariadb", "VARCHAR(3)"),
    "text beyond a character set": ("postgresql", "text", "日本", "mariadb", "VARCHAR(20) CHARACTER SET latin1"),
    "text beyond the basic plane": ("postgresql", "text", "🎉", "mariadb", "VARCHAR(20) CHARACTER SET utf8mb3"),
    "text into sqlite's number": ("postgresql", "text", "00123", "sqlite", "INTEGER"),
    "bytes too long": ("sqlite", "BLOB", b"abcd", "mariadb", "VARBINARY(3)"),
    "microseconds": (
        *("postgresql", "timestamp", datetime.datetime(2024, 1, 2, 3, 4, 5, 600_000)),
        *("mariadb", "DATETIME"),
    ),
    "microseconds in postgresql": (
        *("mariadb", "DATETIME(6)", datetime.datetime(2024, 1, 2, 3, 4, 5, 678_901)),
        *("postgresql", "timestamp(3)"),
    ),
    "a time's microseconds": ("postgresql", "time", datetime.time(3, 4, 5, 600_000), "mariadb", "TIME"),
    "a timestamp into a date": ("postgresql", "timestamp", datetime.datetime(2024, 1, 2, 3, 4, 5), "mariadb", "DATE"),
    "null where none may be": ("sqlite", "TEXT", None, "postgresql", "text NOT NULL"),
    "null where none may be in mariadb": ("sqlite", "TEXT", None, "mariadb", "VARCHAR(9) NOT NULL"),
}


@pytest.mark.parametrize("case", TOO_NARROW)
def test_a_column_that_would_keep_another_value_is_refused(databases: Databases, script: Script, case: str) -> None:
    source_product, source_type, value, target_product, target_type = TOO_NARROW[case]
    source, target = databases(source_product), databases(target_product)
    stored: Any = str(value) if source_product == "sqlite" and isinstance(value, Decimal) else value
    source.fill("t", {"id": "INTEGER", "narrow": source_type}, [(1, None if value is None else stored)])
    target.execute(f"CREATE TABLE t (id INTEGER, narrow {target_type})")
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    kept = target.query("SELECT narrow FROM t")
    assert kept == [], f"{value!r} became {kept!r}"
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert "narrow" in last, f"the column is not named: {last}"
    assert "t" in last
    if isinstance(value, str):
        assert value not in last, "a cell's value is shown"


# Values that not every product can hold: what counts is that they arrive as they are, or not at all.
UNEASY: dict[str, tuple[str, str, Any, str]] = {
    "not a number": ("postgresql", "double precision", "'NaN'::float8", "CAST({} AS CHAR(40))"),
    "infinity": ("postgresql", "double precision", "'-Infinity'::float8", "CAST({} AS CHAR(40))"),
    "not a number as a decimal": ("postgresql", "numeric", "'NaN'::numeric", "CAST({} AS CHAR(40))"),
    "a decimal of no declared precision": ("postgresql", "numeric", "1234567890.12345678901234567890123456789", "{}"),
    "a very large decimal": ("postgresql", "numeric", "1" + "0" * 60 + ".5", "{}"),
    "the largest unsigned number": ("mariadb", "BIGINT UNSIGNED", "18446744073709551615", "{}"),
    "a time beyond a day": ("mariadb", "TIME", "'838:59:59'", "CAST({} AS CHAR(40))"),
    "a time before midnight": ("mariadb", "TIME", "'-01:00:00'", "CAST({} AS CHAR(40))"),
    "the zero date": ("mariadb", "DATE", "'0000-00-00'", "CAST({} AS CHAR(40))"),
    "a date without a day": ("mariadb", "DATE", "'2024-02-00'", "CAST({} AS CHAR(40))"),
    "a year before christ": ("postgresql", "date", "'0044-03-15 BC'::date", "CAST({} AS CHAR(40))"),
    "the end of days": ("postgresql", "timestamp", "'infinity'::timestamp", "CAST({} AS CHAR(40))"),
    "a year after 9999": ("postgresql", "timestamp", "'12024-01-02 03:04:05'::timestamp", "CAST({} AS CHAR(40))"),
    "midnight as 24:00": ("postgresql", "time", "'24:00:00'::time", "CAST({} AS CHAR(40))"),
    "bits": ("mariadb", "BIT(64)", "b'1000000000000000000000000000000000000000000000000000000000000001'", "{}"),
    "text with a nul": ("sqlite", "TEXT", "'a' || char(0) || 'b'", "{}"),
    "text in a column of numbers": ("sqlite", "INTEGER", "'12 apples'", "{}"),
    "a fraction in a column of whole numbers": ("sqlite", "INTEGER", "1.5", "{}"),
    "bytes in a column of text": ("sqlite", "TEXT", "x'00ff41'", "{}"),
    "a number in a column of text": ("sqlite", "BLOB", "7", "{}"),
    "text that is no date in a column of dates": ("sqlite", "DATE", "'31.12.1999'", "{}"),
    "seconds since 1970 in a column of timestamps": ("sqlite", "TIMESTAMP", "1700000000", "{}"),
    "more digits than a double has": ("sqlite", "DECIMAL(30,2)", "'1234567890123456789012345.67'", "{}"),
    "nanoseconds": ("sqlite", "TIMESTAMP", "'2024-01-02 03:04:05.123456789'", "CAST({} AS CHAR(40))"),
    "infinity in sqlite": ("sqlite", "DOUBLE", "9e999", "CAST({} AS CHAR(40))"),
}


def seen(value: Any, product: str) -> Any:
    """A value as `product` hands it out, so that two that mean the same are equal, whichever product they come from."""
    if isinstance(value, (bool, int, Decimal)) or (isinstance(value, float) and math.isfinite(value)):
        return as_decimal(value)
    if isinstance(value, (bytes, bytearray)):
        return as_decimal(int.from_bytes(value, "big")) if len(value) == 8 else bytes(value)  # eight: PyMySQL's BIT(64)
    if isinstance(value, str):
        if product == "sqlite" and re.fullmatch(r"-?\d{16,}|-?\d+\.\d+", value):
            return as_decimal(value)  # beyond 64 bits or 15 digits text alone keeps a number there
        text = value.strip().removesuffix(".000000").removesuffix(".0").casefold()
        return {"inf": "infinity", "-inf": "-infinity"}.get(text, text)
    return value


@pytest.mark.parametrize(
    ("case", "target_product"),
    [
        pytest.param(case, target, id=f"{case}-{target}")
        for case, (source, *_) in UNEASY.items()
        for one, target in DIRECTIONS
        if one == source
    ],
)
def test_a_value_that_not_every_product_can_hold_arrives_as_it_is_or_not_at_all(
    databases: Databases, script: Script, case: str, target_product: str
) -> None:
    source_product, declared, literal, read = UNEASY[case]
    source, target = databases(source_product), databases(target_product)
    if source_product == "mariadb":
        source.execute("SET SESSION sql_mode = ''")  # else the server refuses the zero dates itself
    source.execute(f"CREATE TABLE t (id INTEGER, uneasy {declared})")
    source.execute(f"INSERT INTO t VALUES (1, {literal})")
    done = script(COPY, services={"Source": source.odbc, "Target": target.odbc})
    if done.returncode == 0:
        query = f"SELECT {read.format('uneasy')} FROM t"
        arrived = [seen(value, target_product) for (value,) in target.query(query)]
        assert arrived == [seen(value, source_product) for (value,) in source.query(query)]
        return
    assert done.returncode == 1, done.stderr
    assert "uneasy" in done.stderr.splitlines()[-1], "the column is not named"
    assert "t" not in target.tables() or target.count("t") == 0
