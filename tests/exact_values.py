"""The values that a copy has to bring over exactly, kind by kind: how each product declares and stores them, and how
two values of one kind are compared although products hand them out as different Python types.
"""

from __future__ import annotations

import datetime
import random
import re
import struct
import uuid
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Callable, Optional

from databases import PRODUCTS, Database


@dataclass(frozen=True)
class Kind:
    """One kind of value."""

    name: str
    # The SQL type of the column, by product. A product without it is no source of this kind.
    types: dict[str, str]
    values: list[Any]
    # What a product's client hands out, as something that is equal exactly when the values are.
    canonical: Callable[[Any], Any]
    # How a value is given to a product's client; as it is where nothing is said.
    stored: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    # How the column is read, where a client's reading of the bare column would lose something.
    read: dict[str, str] = field(default_factory=dict)
    # The products that hold all of the values; the others refuse some, see `test_copy_refusals`.
    targets: tuple[str, ...] = PRODUCTS
    # What a database needs before it can have such a column.
    setup: dict[str, str] = field(default_factory=dict)

    def prepare(self, database: Database) -> None:
        """Make what the column's type needs to be there."""
        if database.product in self.setup:
            database.execute(self.setup[database.product])

    def fill(self, database: Database, table: str) -> list[Any]:
        """Make the table, with `id` and `value`, and give the canonical values in the order of `id`: NULL comes first,
        in the middle, and last.
        """
        self.prepare(database)
        middle = len(self.values) // 2
        values = [None, *self.values[:middle], None, *self.values[middle:], None]
        store = self.stored.get(database.product, lambda value: value)
        rows = [(number, None if value is None else store(value)) for number, value in enumerate(values)]
        types = {"id": "INTEGER NOT NULL PRIMARY KEY", "value": self.types[database.product]}
        database.fill(table, types, rows)
        return [None if value is None else self.canonical(value) for value in values]

    def content(self, database: Database, table: str) -> list[Any]:
        """The canonical values that a table holds, in the order of `id`."""
        expression = self.read.get(database.product, "{}").format(database.quote("value"))
        rows = database.query(f"SELECT {expression} FROM {database.quote(table)} ORDER BY id")
        return [None if value is None else self.canonical(value) for (value,) in rows]


def as_decimal(value: Any) -> Decimal:
    """A number of any Python type, exactly; SQLite hands out what it stored as text as text."""
    return Decimal(repr(value)) if isinstance(value, float) else Decimal(value)


def as_double(value: Any) -> bytes:
    """The eight bytes of a double."""
    assert isinstance(value, float), f"a float arrived as {type(value).__name__}"
    return struct.pack(">d", value)


def as_single(value: Any) -> bytes:
    """The four bytes of a float of single precision, however wide it was handed out."""
    assert isinstance(value, float), f"a float arrived as {type(value).__name__}"
    return struct.pack(">f", value)


def as_integer(value: Any) -> int:
    """A whole number that arrived as one, or as a Decimal without a fraction."""
    assert isinstance(value, (int, Decimal)), f"a whole number arrived as {type(value).__name__}"
    assert value == int(value)
    return int(value)


def as_bits(value: Any) -> int:
    """Bits as a number; PyMySQL hands out bytes, and SQLite keeps 64 of them as text."""
    return int.from_bytes(value, "big") if isinstance(value, bytes) else int(value)


def as_text(value: Any) -> str:
    """Text that arrived as text."""
    assert isinstance(value, str), f"text arrived as {type(value).__name__}"
    return value


def as_padded_text(value: Any) -> str:
    """Text of a column of fixed length, where trailing blanks are the column's and not the value's."""
    return as_text(value).rstrip(" ")


def as_uuid(value: Any) -> uuid.UUID:
    """A UUID; products without the type have it as text."""
    return value if isinstance(value, uuid.UUID) else uuid.UUID(value)


def as_bytes(value: Any) -> bytes:
    """Bytes that arrived as bytes."""
    assert isinstance(value, (bytes, bytearray, memoryview)), f"bytes arrived as {type(value).__name__}"
    return bytes(value)


def as_date(value: Any) -> datetime.date:
    """A date; SQLite has it as text."""
    return datetime.date.fromisoformat(value) if isinstance(value, str) else value


def as_time(value: Any) -> datetime.time:
    """A time of day; SQLite has it as text, PyMySQL hands out the time since midnight."""
    if isinstance(value, datetime.timedelta):
        return (datetime.datetime(2000, 1, 1) + value).time()
    return datetime.time.fromisoformat(six_digits(value)) if isinstance(value, str) else value


def as_span(value: Any) -> datetime.timedelta:
    """Hours, minutes and seconds of any number, with a sign; SQLite has them as text."""
    if not isinstance(value, str):
        return value
    sign, hours, minutes, seconds = re.fullmatch(r"(-?)(\d+):(\d\d):(\d\d(?:\.\d+)?)", value).groups()  # type: ignore[union-attr]
    span = datetime.timedelta(hours=int(hours), minutes=int(minutes), microseconds=int(Decimal(seconds) * 1_000_000))
    return -span if sign else span


def as_instant(value: Any) -> datetime.datetime:
    """A point in time. SQLite has it as text with an offset; what has no zone is UTC, as in MariaDB."""
    if isinstance(value, str):
        local, sign, offset = re.fullmatch(r"(.{19}(?:\.\d+)?)(?:([+-])(\d\d:\d\d))?", value).groups()  # type: ignore[union-attr]
        value = datetime.datetime.fromisoformat(six_digits(local) + (sign + offset if sign else ""))
    if value.tzinfo is None:
        return value.replace(tzinfo=datetime.timezone.utc)
    return value.astimezone(datetime.timezone.utc)


def as_timestamp(value: Any) -> datetime.datetime:
    """A point in time without a zone; SQLite has it as text."""
    return datetime.datetime.fromisoformat(six_digits(value)) if isinstance(value, str) else value


def six_digits(text: str) -> str:
    """A time's fraction with six digits: Python before 3.11 reads three or six, and no other number of them. Digits
    beyond six have to be zeros.
    """
    whole, point, fraction = text.partition(".")
    assert not fraction[6:].strip("0"), f"more than microseconds: {text}"
    return f"{whole}.{fraction[:6]:0<6}" if point else whole


def every_character() -> list[str]:
    """All code points but NUL (PostgreSQL refuses it) and surrogates (UTF-8 has none), 4,096 to a string."""
    points = [point for point in range(1, 0x110000) if not 0xD800 <= point <= 0xDFFF]
    return ["".join(map(chr, points[start : start + 4096])) for start in range(0, len(points), 4096)]


TEXTS = [
    *(
        "",
        " ",
        "trailing blanks   ",
        "   leading",
        "a\ttab",
        "line\nfeed",
        "carriage\rreturn",
        "both\r\n",
        "\n",
        "\r\n",
    ),
    *(
        "'",
        "''",
        '"',
        "`",
        "\\",
        "\\\\",
        "\\'",
        "\\n",
        "\\N",
        "NULL",
        "?",
        "%s %d",
        "{d '2000-01-01'}",
        "--",
        "/*",
        ";",
    ),
    *("0", "00123", "1e3", "1.0", "true", "2000-01-01", "{}", "0x41"),
    *("é", "e\u0301", "ß", "ẞ", "İi̇", "Ǆ", "\u00a0", "\u200b", "\ufeff", "\u2028", "\ufffd"),
    *("日本語", "ไทย", "עברית", "العربية ﷺ", "한국어 하", "देवनागरी", "🎉", "👩‍👩‍👧‍👦", "🇩🇪", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\U0010fffd"),
    *("a" * 8190, "a" * 8191, "ä" * 4096, "🎉" * 2048, "x" * 65535, "y" * 65536, "é" * 100_000),
]

DOUBLES = [
    *(
        0.0,
        1.0,
        -1.0,
        0.1,
        0.2,
        0.1 + 0.2,
        1 / 3,
        2 / 3,
        1e15,
        1e16,
        123456789.123456789,
        9007199254740993.0,
        1e22,
        1e23,
    ),
    *(5e-324, 2.2250738585072014e-308, 2.225073858507201e-308, 1.7976931348623157e308, -1.7976931348623157e308),
    *(3.141592653589793, 2.718281828459045, 4.35, 100.04, 10.357019999999999, 0.000001, 1e-10, 5e-10),
    *[
        struct.unpack(">d", struct.pack(">Q", bits))[0]
        for bits in (0x3FF0000000000001, 0x3FEFFFFFFFFFFFFF, 0x4340000000000001)
    ],
]

# Around the hours that clocks in Europe and America skip and repeat, before zones had whole minutes, at both ends.
INSTANTS = [
    datetime.datetime.fromisoformat(text).astimezone(datetime.timezone.utc)
    for text in (
        *("2024-03-31T00:59:59.999999+00:00", "2024-03-31T01:00:00+00:00", "2024-03-31T02:30:00+01:00"),
        *("2024-10-27T00:30:00+00:00", "2024-10-27T01:30:00+00:00", "2024-11-03T05:30:00+00:00"),
        *("2024-11-03T06:30:00.000001+00:00", "1999-12-31T23:59:59.999999-11:30", "1970-01-01T00:00:01+00:00"),
        *("2038-01-19T03:14:07+00:00", "2000-02-29T12:00:00.5+05:45"),
    )
]
FAR_INSTANTS = [
    datetime.datetime(*parts, tzinfo=datetime.timezone.utc)  # type: ignore[misc, arg-type]
    for parts in ((1, 1, 1), (1890, 1, 1, 0, 53, 28), (1969, 12, 31, 23, 59, 59), (9999, 12, 31, 23, 59, 59, 999_999))
]

DOCUMENTS = [
    *("{}", "[]", "null", "true", "0", "-0.0", "1.0", "1e400", "12345678901234567890.123456789", '""'),
    *('{"a": 1, "a": 2}', '{ "b" :\t1,\n"a":[ 1,2 ] }', '"\\u00e9 \\n \\" é 🎉"', '{"long": "' + "x" * 70_000 + '"}'),
]

MIDNIGHT_TO_MIDNIGHT = [
    *(datetime.time(0, 0, 0), datetime.time(0, 0, 0, 1), datetime.time(12, 34, 56), datetime.time(12, 34, 56, 120_000)),
    *(datetime.time(1, 2, 3, 456_789), datetime.time(9, 9, 9, 99), datetime.time(23, 59, 59, 999_999)),
]

DATES = [
    *(datetime.date(1, 1, 1), datetime.date(999, 12, 31), datetime.date(1582, 10, 4), datetime.date(1582, 10, 10)),
    *(datetime.date(1582, 10, 15), datetime.date(1600, 2, 29), datetime.date(1752, 9, 3), datetime.date(1899, 12, 31)),
    *(datetime.date(1900, 3, 1), datetime.date(1969, 12, 31), datetime.date(1970, 1, 1), datetime.date(2000, 2, 29)),
    *(datetime.date(2038, 1, 19), datetime.date(2106, 2, 7), datetime.date(9999, 12, 31)),
]

TIMESTAMPS = [
    *[datetime.datetime.combine(day, MIDNIGHT_TO_MIDNIGHT[0]) for day in DATES],
    *[datetime.datetime.combine(datetime.date(2024, 2, 29), time) for time in MIDNIGHT_TO_MIDNIGHT],
    datetime.datetime(1, 1, 1, 0, 0, 0, 1),
    datetime.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    datetime.datetime(2024, 3, 31, 2, 30),  # skipped by clocks in much of Europe
    datetime.datetime(9999, 12, 31, 23, 59, 59, 999_999),
]

KINDS = [
    Kind(
        "smallint",
        {"postgresql": "smallint", "mariadb": "SMALLINT", "sqlite": "SMALLINT"},
        [0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, -32768],
        as_integer,
    ),
    Kind(
        "integer",
        {"postgresql": "integer", "mariadb": "INT", "sqlite": "INTEGER"},
        [0, 1, -1, 65535, 65536, 2147483647, -2147483648],
        as_integer,
    ),
    Kind(
        "bigint",
        {"postgresql": "bigint", "mariadb": "BIGINT", "sqlite": "BIGINT"},
        [0, 2147483648, -2147483649, 9007199254740993, -9007199254740993, 9223372036854775807, -9223372036854775808],
        as_integer,
    ),
    Kind("tinyint unsigned", {"mariadb": "TINYINT UNSIGNED"}, [0, 127, 128, 255], as_integer),
    Kind("int unsigned", {"mariadb": "INT UNSIGNED"}, [0, 2147483647, 2147483648, 4294967295], as_integer),
    Kind("boolean", {"postgresql": "boolean", "mariadb": "BOOLEAN", "sqlite": "BOOLEAN"}, [False, True], int),
    Kind(
        "decimal",
        {"postgresql": "numeric(15,4)", "mariadb": "DECIMAL(15,4)", "sqlite": "DECIMAL(15,4)"},
        [Decimal(text) for text in ("0", "1", "-1", "0.0001", "-0.0001", "0.1", "12345.67", "99999999999.9999", "1e3")],
        as_decimal,
        stored={"sqlite": str},
    ),
    Kind(
        "decimal of 38 digits",
        {"postgresql": "numeric(38,10)", "mariadb": "DECIMAL(38,10)"},
        [
            Decimal(text)
            for text in (
                *(
                    "0",
                    "0.0000000001",
                    "-0.0000000001",
                    "9999999999999999999999999999.9999999999",
                    "0.1",
                    "10",
                    "-7.50",
                ),
                *("-9999999999999999999999999999.9999999999", "1234567890123456789012345678.0123456789"),
            )
        ],
        as_decimal,
    ),
    Kind(
        "double",
        {"postgresql": "double precision", "mariadb": "DOUBLE", "sqlite": "DOUBLE"},
        DOUBLES,
        as_double,
    ),
    Kind(
        "single",
        {"postgresql": "real", "mariadb": "FLOAT"},
        [
            0.0,
            1.0,
            0.5,
            struct.unpack(">f", b"\x3d\xcc\xcc\xcd")[0],
            16777215.0,
            1.1754943508222875e-38,
            3.4028234663852886e38,
        ],
        as_single,
        # As text the server gives six digits of a FLOAT, too few to tell two of them apart.
        read={"mariadb": "CAST({} AS DOUBLE)"},
    ),
    Kind("text", {"postgresql": "text", "mariadb": "LONGTEXT", "sqlite": "TEXT"}, TEXTS, as_text),
    Kind(
        "varchar",
        {"postgresql": "varchar(300)", "mariadb": "VARCHAR(300)", "sqlite": "VARCHAR(300)"},
        [text for text in TEXTS if len(text) <= 300] + ["x" * 300, "ä" * 300, "🎉" * 300, "あ" * 255],
        as_text,
    ),
    Kind(
        "every character", {"postgresql": "text", "mariadb": "LONGTEXT", "sqlite": "TEXT"}, every_character(), as_text
    ),
    Kind(
        "bytes",
        {"postgresql": "bytea", "mariadb": "LONGBLOB", "sqlite": "BLOB"},
        [
            *(
                b"",
                b"\0",
                b"\0\0",
                b"a\0b",
                b"\xff",
                bytes(range(256)),
                b"'",
                b"\\",
                b"\\x41",
                b"\\000",
                "é".encode(),
                b"   ",
            ),
            *(bytes(range(256)) * 32, b"\0" * 65536, random.Random(7).randbytes(300_000)),
        ],
        as_bytes,
    ),
    Kind(
        "date",
        {"postgresql": "date", "mariadb": "DATE", "sqlite": "DATE"},
        DATES,
        as_date,
        stored={"sqlite": str},
    ),
    Kind(
        "time",
        {"postgresql": "time", "mariadb": "TIME(6)", "sqlite": "TIME"},
        MIDNIGHT_TO_MIDNIGHT,
        as_time,
        stored={"sqlite": str},
    ),
    Kind(
        "timestamp",
        {"postgresql": "timestamp", "mariadb": "DATETIME(6)", "sqlite": "TIMESTAMP"},
        TIMESTAMPS,
        as_timestamp,
        stored={"sqlite": str},
    ),
]


def kind(name: str) -> Kind:
    """The kind of that name."""
    found: Optional[Kind] = next((kind for kind in KINDS if kind.name == name), None)
    assert found is not None, f"no kind {name}"
    return found
