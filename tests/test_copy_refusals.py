"""Exact or refused: where a value cannot be kept as it is, the copy of its table fails, says where, leaves nothing."""

from __future__ import annotations

import datetime
import json
import math
import re
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from copying import LANES, Copied, Copying
from databases import DIRECTIONS, Database, Databases
from exact_values import as_decimal


def slug(case: str) -> str:
    """A table's name for a case."""
    return re.sub(r"\W+", "_", case)


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
    "an instant after 2038": (
        *("postgresql", "timestamptz", datetime.datetime(2038, 1, 19, 3, 14, 8, tzinfo=datetime.timezone.utc)),
        *("mariadb", "TIMESTAMP"),
    ),
    "an instant into a timestamp without a zone": (
        *("postgresql", "timestamptz", datetime.datetime(2024, 1, 2, tzinfo=datetime.timezone.utc)),
        *("postgresql", "timestamp"),
    ),
    "a time beyond a day": ("mariadb", "TIME", "25:00:00", "postgresql", "time"),
    "text that is no uuid": ("sqlite", "TEXT", "550e8400-e29b-41d4-a716", "postgresql", "uuid"),
    "a number that would choose a member of an enum": ("sqlite", "TEXT", "1", "mariadb", "ENUM('first', 'second')"),
    "a letter that an enum has in another case": ("sqlite", "TEXT", "FIRST", "mariadb", "ENUM('first', 'second')"),
    "members of a set in another order": ("sqlite", "TEXT", "two,one", "mariadb", "SET('one', 'two')"),
    "a year of two digits": ("sqlite", "INTEGER", 24, "mariadb", "YEAR"),
    "a double that would be rounded": ("sqlite", "DOUBLE", 1.239, "mariadb", "DOUBLE(10,2)"),
    "a decimal that a double would round": (
        *("postgresql", "numeric(10,3)", Decimal("1.239")),
        *("mariadb", "DOUBLE(10,2)"),
    ),
    "text that a name would cut": ("sqlite", "TEXT", "x" * 64, "postgresql", "name"),
    "a number that a negative scale would round": ("sqlite", "INTEGER", 123, "postgresql", "numeric(5,-2)"),
    "digits in a column of dates": ("sqlite", "TEXT", "00123", "sqlite", "DATE"),
    "a document that is a number": ("postgresql", "json", "17.250", "sqlite", "JSON"),
    "text that an enum lacks": ("sqlite", "TEXT", "third", "mariadb", "ENUM('first', 'second')"),
    "text that is no json": ("sqlite", "TEXT", "{no json", "postgresql", "json"),
    "json that would be put in order": ("postgresql", "json", '{"b": 1, "a": 2, "a": 3}', "postgresql", "jsonb"),
    "bytes into text": ("postgresql", "bytea", b"abc", "mariadb", "LONGTEXT"),
    "text into a char that would be filled": ("sqlite", "TEXT", "ßß", "postgresql", "char(3)"),
    "a blank that a char would strip": ("sqlite", "TEXT", "ß ", "mariadb", "CHAR(3)"),
    "bytes that would be filled": ("sqlite", "BLOB", b"ab", "mariadb", "BINARY(3)"),
    "null where none may be": ("sqlite", "TEXT", None, "postgresql", "text NOT NULL"),
    "null where none may be in mariadb": ("sqlite", "TEXT", None, "mariadb", "VARCHAR(9) NOT NULL"),
}


class Runs:
    """Copies many cases of a direction and a lane in one run; the last one is kept, since its tests follow each other."""

    def __init__(self, databases: Databases, copying: Copying) -> None:
        self._databases, self._copying = databases, copying
        self._last: tuple[object, Database, Database, Copied] | None = None

    def narrow(self, lanes: str, source_product: str, target_product: str) -> tuple[Database, Copied]:
        """The destination with a table for every case of [`TOO_NARROW`] of that direction, and what the run said."""
        key = ("narrow", lanes, source_product, target_product)
        if self._last is None or self._last[0] != key:
            source, target = self._databases(source_product), self._databases(target_product)
            for case, (of, source_type, value, into, target_type) in TOO_NARROW.items():
                if (of, into) == (source_product, target_product):
                    stored = str(value) if of == "sqlite" and isinstance(value, Decimal) else value
                    source.fill(slug(case), {"id": "INTEGER", "narrow": source_type}, [(1, stored)])
                    target.execute(f"CREATE TABLE {slug(case)} (id INTEGER, narrow {target_type})")
            # The values are the matter here, not the widths.
            self._last = key, source, target, self._copying(source, target, lanes=lanes, narrower="check")
        return self._last[2], self._last[3]

    def uneasy(self, lanes: str, source_product: str, target_product: str) -> tuple[Database, Database, Copied]:
        """Both databases after a copy of every case of [`UNEASY`] that the source has."""
        key = ("uneasy", lanes, source_product, target_product)
        if self._last is None or self._last[0] != key:
            source, target = self._databases(source_product), self._databases(target_product)
            if source_product == "mariadb":
                source.execute("SET SESSION sql_mode = ''")  # else the server refuses the zero dates itself
            for case, uneasy in UNEASY.items():
                if uneasy.source == source_product:
                    table = slug(case)
                    source.execute(f"CREATE TABLE {table} (id INTEGER NOT NULL PRIMARY KEY, uneasy {uneasy.declared})")
                    for number, literal in ((1, "NULL"), (2, uneasy.literal), (3, "NULL")):
                        source.execute(f"INSERT INTO {table} VALUES ({number}, {literal})")
            self._last = key, source, target, self._copying(source, target, lanes=lanes)
        return self._last[1:]


@pytest.fixture(scope="module")
def runs(module_databases: Databases, copying: Copying) -> Runs:
    """Copies that are refused."""
    return Runs(module_databases, copying)


@pytest.mark.parametrize(
    ("lanes", "case"),
    [
        pytest.param(lanes, case, id=f"{lanes}-{case}")
        for lanes in LANES
        for case in sorted(TOO_NARROW, key=lambda case: (TOO_NARROW[case][0], TOO_NARROW[case][3]))
    ],
)
def test_a_column_that_would_keep_another_value_is_refused(runs: Runs, lanes: str, case: str) -> None:
    source_product, _, value, target_product, _ = TOO_NARROW[case]
    target, copied = runs.narrow(lanes, source_product, target_product)
    kept = target.query(f"SELECT narrow FROM {slug(case)}")
    assert kept == [], f"{value!r} became {kept!r}"
    error = copied.error(slug(case))
    assert error is not None
    if case != "text that is no json":  # the server tells the row alone
        assert error["column"] == "narrow" or "narrow" in error["message"], f"the column is not named: {error}"
    assert error["row"] == 1 or error["phase"] == "plan"
    assert slug(case) in (error["table"].rpartition(".")[2], error["target"].rpartition(".")[2])
    assert error["side"] == "target"
    if isinstance(value, str) and len(value) > 1:
        assert value not in json.dumps(error, ensure_ascii=False), "a cell's value is shown"
        assert value not in copied.stderr, "a cell's value is logged"


@dataclass(frozen=True)
class Uneasy:
    """A value that not every product can hold."""

    source: str
    declared: str
    literal: str
    # Why a product refuses it, as a regular expression. A product that is not named here holds it.
    refused: dict[str, str] = field(default_factory=dict)
    # Products that may do either: keep it exactly, or refuse it.
    either: tuple[str, ...] = ()
    # How it is read so that clients need not understand it.
    read: str = "CAST({} AS CHAR(40))"


def elsewhere(reason: str, *products: str) -> dict[str, str]:
    """The same reason of several products."""
    return dict.fromkeys(products, reason)


UNEASY = {
    "not a number": Uneasy("postgresql", "double precision", "'NaN'::float8", elsewhere("NaN", "mariadb", "sqlite")),
    "infinity": Uneasy("postgresql", "double precision", "'-Infinity'::float8", {"mariadb": "infinite|infinity"}),
    "infinity in sqlite": Uneasy("sqlite", "DOUBLE", "9e999", {"mariadb": "infinite|infinity"}),
    # Neither keeps the sign: MariaDB in no DOUBLE, SQLite in no column of REAL affinity.
    "zero below zero": Uneasy(
        "postgresql", "double precision", "'-0'::float8", elsewhere("-0", "mariadb", "sqlite"), read="{}"
    ),
    "not a number as a decimal": Uneasy(
        "postgresql", "numeric", "'NaN'::numeric", {"mariadb": "NaN|no decimal"}, either=("sqlite",)
    ),
    "infinity as a decimal": Uneasy(
        "postgresql", "numeric", "'-Infinity'::numeric", {"mariadb": "infini|no decimal"}, either=("sqlite",)
    ),
    "a decimal of no declared precision": Uneasy(
        "postgresql", "numeric", "1234567890.12345678901234567890123456789", read="{}"
    ),
    "a very large decimal": Uneasy("postgresql", "numeric", "1" + "0" * 60 + ".5", {"mariadb": "digits"}, read="{}"),
    "a very small decimal": Uneasy("postgresql", "numeric", "0." + "0" * 60 + "5", {"mariadb": "digits"}, read="{}"),
    "the largest unsigned number": Uneasy("mariadb", "BIGINT UNSIGNED", "18446744073709551615", read="{}"),
    "a time beyond a day": Uneasy("mariadb", "TIME", "'838:59:59'", {"postgresql": "span|day"}),
    "a time before midnight": Uneasy("mariadb", "TIME", "'-01:00:00'", {"postgresql": "span|day"}),
    "a time beyond a day in sqlite": Uneasy("sqlite", "TIME", "'25:00:00'", {"postgresql": "span|day"}),
    "a time beyond all that mariadb has": Uneasy(
        "sqlite", "TIME", "'839:00:00'", elsewhere("span|day|time|Out of range|838", "postgresql", "mariadb")
    ),
    "the zero date": Uneasy("mariadb", "DATE", "'0000-00-00'", elsewhere("date", "postgresql", "sqlite")),
    "the zero timestamp": Uneasy(
        "mariadb",
        "TIMESTAMP NULL",
        "'0000-00-00 00:00:00'",
        elsewhere("date|timestamp", "postgresql", "sqlite"),
        either=("mariadb",),
    ),
    "a date without a day": Uneasy(
        "mariadb", "DATE", "'2024-02-00'", elsewhere("date", "postgresql", "sqlite"), either=("mariadb",)
    ),
    "a year before christ": Uneasy(
        "postgresql", "date", "'0044-03-15 BC'::date", elsewhere("year", "mariadb", "sqlite")
    ),
    "the end of days": Uneasy(
        "postgresql", "timestamp", "'infinity'::timestamp", elsewhere("infini|year", "mariadb", "sqlite")
    ),
    "the end of dates": Uneasy(
        "postgresql", "date", "'-infinity'::date", elsewhere("infini|year", "mariadb", "sqlite")
    ),
    "the end of instants": Uneasy(
        "postgresql", "timestamptz", "'infinity'::timestamptz", elsewhere("infini|year", "mariadb", "sqlite")
    ),
    # Between two PostgreSQL servers by COPY alone, which does not look inside.
    "a year after 9999": Uneasy(
        "postgresql",
        "timestamp",
        "'12024-01-02 03:04:05'::timestamp",
        elsewhere("year", "mariadb", "sqlite"),
        either=("postgresql",),
    ),
    "a year after 32767": Uneasy(
        "postgresql", "date", "'123456-07-08'::date", elsewhere("year", "mariadb", "sqlite"), either=("postgresql",)
    ),
    "midnight as 24:00": Uneasy("postgresql", "time", "'24:00:00'::time"),
    "bits": Uneasy("mariadb", "BIT(64)", "b'1" + "0" * 62 + "1'", read="{}"),
    "text with a nul": Uneasy("sqlite", "TEXT", "'a' || char(0) || 'b'", {"postgresql": r"U\+0000"}, read="{}"),
    "text with a nul in mariadb": Uneasy("mariadb", "LONGTEXT", r"'a\0b'", {"postgresql": r"U\+0000"}, read="{}"),
    "text that is no unicode": Uneasy(
        "sqlite",
        "TEXT",
        "CAST(x'61ff62' AS TEXT)",
        elsewhere("UTF-8", "postgresql", "mariadb"),
        either=("sqlite",),
        read="hex({})",
    ),
    "text in a column of numbers": Uneasy(
        "sqlite", "INTEGER", "'12 apples'", elsewhere("text", "postgresql", "mariadb"), either=("sqlite",)
    ),
    "a fraction in a column of whole numbers": Uneasy(
        "sqlite", "INTEGER", "1.5", elsewhere("real", "postgresql", "mariadb"), either=("sqlite",), read="{}"
    ),
    "bytes in a column of text": Uneasy(
        "sqlite", "TEXT", "x'00ff41'", elsewhere("blob", "postgresql", "mariadb"), either=("sqlite",), read="{}"
    ),
    "a number in a column of bytes": Uneasy(
        "sqlite", "BLOB", "7", elsewhere("integer", "postgresql", "mariadb"), either=("sqlite",), read="{}"
    ),
    "a number in a column of truth": Uneasy(
        "sqlite", "BOOLEAN", "2", elsewhere("0 and 1", "postgresql", "mariadb"), either=("sqlite",), read="{}"
    ),
    "text that is no date in a column of dates": Uneasy(
        "sqlite", "DATE", "'31.12.1999'", elsewhere("date", "postgresql", "mariadb")
    ),
    "a day that the calendar lacks": Uneasy(
        "sqlite", "DATE", "'2023-02-29'", elsewhere("date", "postgresql", "mariadb")
    ),
    "seconds since 1970 in a column of timestamps": Uneasy(
        "sqlite",
        "TIMESTAMP",
        "1700000000",
        elsewhere("integer", "postgresql", "mariadb"),
        either=("sqlite",),
        read="{}",
    ),
    "text that is no uuid": Uneasy("sqlite", "UUID_TEXT", "'550e8400'", elsewhere("UUID", "postgresql", "mariadb")),
    "text longer than its column says": Uneasy(
        "sqlite", "VARCHAR(3)", "'abcdef'", elsewhere("characters", "postgresql", "mariadb"), read="{}"
    ),
    "more digits than the column says": Uneasy(
        "sqlite",
        "DECIMAL_TEXT(5,2)",
        "'123456.789'",
        elsewhere("digits", "postgresql", "mariadb"),
        either=("sqlite",),
        read="{}",
    ),
    "more digits than a double has": Uneasy(
        "sqlite",
        "DECIMAL(30,2)",
        "'1234567890123456789012345.67'",
        either=("sqlite", "postgresql", "mariadb"),
        read="{}",
    ),
    "nanoseconds": Uneasy(
        "sqlite", "TIMESTAMP", "'2024-01-02 03:04:05.123456789'", elsewhere("digits", "postgresql", "mariadb")
    ),
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
    ("lanes", "source_product", "target_product", "case"),
    [
        pytest.param(lanes, source, target, case, id=f"{lanes}-{source}-{target}-{case}")
        for lanes in LANES
        for source, target in DIRECTIONS
        for case, uneasy in UNEASY.items()
        if uneasy.source == source
    ],
)
def test_a_value_that_not_every_product_can_hold_arrives_as_it_is_or_is_refused_by_name(
    runs: Runs, lanes: str, source_product: str, target_product: str, case: str
) -> None:
    uneasy, table = UNEASY[case], slug(case)
    source, target, copied = runs.uneasy(lanes, source_product, target_product)
    error = copied.error(table)
    if error is None:
        assert target_product not in uneasy.refused, "it was let pass"
        query = f"SELECT {uneasy.read.format('uneasy')} FROM {table} ORDER BY id"
        arrived = [seen(value, target_product) for (value,) in target.query(query)]
        assert arrived == [seen(value, source_product) for (value,) in source.query(query)]
        return
    reason = uneasy.refused.get(target_product)
    assert reason is not None or target_product in uneasy.either, f"it was refused: {error['message']}"
    assert re.search(reason or "", error["message"]), error["message"]
    assert error["column"] == "uneasy" or "`uneasy`" in error["message"] or "'uneasy'" in error["message"]
    assert error["row"] == 2
    assert table not in target.tables(), "the table that the copy made was left behind"
    told = uneasy.literal.strip("'")
    if len(told) > 5 and "'" not in told:
        assert told not in json.dumps(error), "a cell's value is shown"


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("target_product", ["postgresql", "mariadb"])
def test_a_refused_value_is_named_with_the_key_of_its_row_but_never_with_a_key_of_text(
    databases: Databases, copying: Copying, target_product: str, lanes: str
) -> None:
    source, target = databases("sqlite"), databases(target_product)
    source.execute("CREATE TABLE t (part BIGINT NOT NULL, day DATE NOT NULL, note VARCHAR(3), PRIMARY KEY (part, day))")
    source.insert("t", [(number, "2024-02-29", "abc" if number != 777 else "abcd") for number in range(1_000)])
    source.execute("CREATE TABLE named (name VARCHAR(20) NOT NULL PRIMARY KEY, note VARCHAR(3))")
    source.insert("named", [("Müller", "abcd")])
    copied = copying(source, target, lanes=lanes)
    error, named = copied.error("t"), copied.error("named")
    assert error is not None and named is not None
    assert (error["column"], error["row"], error["key"]) == ("note", 778, "part=777, day=2024-02-29")
    assert named["row"] == 1
    assert "Müller" not in json.dumps(named, ensure_ascii=False) + copied.stderr
    assert target.tables() == set()


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("target_product", ["mariadb", "sqlite"])
def test_infinity_becomes_null_on_request_where_null_is_allowed(
    databases: Databases, copying: Copying, target_product: str, lanes: str
) -> None:
    source, target = databases("postgresql"), databases(target_product)
    source.execute("CREATE TABLE t (id integer PRIMARY KEY, d date, s timestamp, i timestamptz, n numeric(9,2))")
    source.execute(
        "INSERT INTO t VALUES (1, 'infinity', '-infinity', 'infinity', 1.5), (2, '2024-01-02', NULL, NULL, 2)"
    )
    source.execute("CREATE TABLE strict (id integer PRIMARY KEY, d date NOT NULL)")
    source.execute("INSERT INTO strict VALUES (1, 'infinity')")
    copied = copying(source, target, lanes=lanes, infinity="null")
    assert copied.error("t") is None
    held = [tuple(map(seen_text, row)) for row in target.query("SELECT id, d, s, i, n FROM t ORDER BY id")]
    assert held == [("1", None, None, None, "1.5"), ("2", "2024-01-02", None, None, "2")]
    error = copied.error("strict")
    assert error is not None
    assert (error["column"], error["row"]) == ("d", 1)


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("target_product", ["postgresql", "sqlite"])
def test_a_zero_date_becomes_null_on_request(
    databases: Databases, copying: Copying, target_product: str, lanes: str
) -> None:
    source, target = databases("mariadb"), databases(target_product)
    source.execute("SET SESSION sql_mode = ''")
    source.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, d DATE, s DATETIME(6))")
    source.execute("INSERT INTO t VALUES (1, '0000-00-00', '0000-00-00 00:00:00'), (2, '2024-01-02', '2024-01-02')")
    copied = copying(source, target, lanes=lanes, zero_dates="null")
    assert copied.error("t") is None
    held = [tuple(map(seen_text, row)) for row in target.query("SELECT id, d FROM t ORDER BY id")]
    assert held == [("1", None), ("2", "2024-01-02")]
    assert target.query("SELECT s FROM t WHERE id = 1") == [(None,)]


def seen_text(value: Any) -> Any:
    """A value as text without zeros at its end; None stays None."""
    return format(value.normalize(), "f") if isinstance(value, Decimal) else None if value is None else str(value)
