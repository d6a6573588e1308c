"""More kinds of values that a copy has to bring over exactly: those that one product alone has a type for, or that not
every product can hold. What a product refuses of them is `test_copy_refusals`'s business.
"""

from __future__ import annotations

import datetime
import math
import struct
from decimal import Decimal

from exact_values import (
    DOCUMENTS,
    FAR_INSTANTS,
    INSTANTS,
    Kind,
    as_bits,
    as_bytes,
    as_decimal,
    as_double,
    as_instant,
    as_integer,
    as_padded_text,
    as_span,
    as_text,
    as_timestamp,
    as_uuid,
)

UTC_SESSION = {"mariadb": "SET time_zone = '+00:00'"}


def opaque(name: str, declared: str, values: list[str], setup: str = "") -> Kind:
    """A type that only PostgreSQL knows: its text arrives, and in PostgreSQL the type as well."""
    return Kind(
        name,
        {"postgresql": declared},
        values,
        as_text,
        read={"postgresql": "{}::text"},
        setup={"postgresql": setup} if setup else {},
    )


def unpadded(value: object) -> bytes:
    """Bytes of a column that fills up with zeros."""
    return as_bytes(value).ljust(8, b"\0")


NUMBERS = [
    Kind("bigint unsigned", {"mariadb": "BIGINT UNSIGNED"}, [0, 1, 2**63 - 1, 2**63, 2**64 - 1], as_decimal),
    Kind("mediumint", {"mariadb": "MEDIUMINT"}, [0, -(2**23), 2**23 - 1], as_integer),
    Kind("mediumint unsigned", {"mariadb": "MEDIUMINT UNSIGNED"}, [0, 2**24 - 1], as_integer),
    Kind("year", {"mariadb": "YEAR"}, [1901, 2000, 2155], as_integer),
    Kind("oid", {"postgresql": "oid"}, [0, 1, 2**31, 2**32 - 1], as_integer),
    Kind("bit", {"mariadb": "BIT(1)"}, [0, 1], as_bits),
    Kind("bits", {"mariadb": "BIT(64)"}, [0, 1, 2**63 - 1, 2**63, 2**64 - 1], as_bits),
    Kind("some bits", {"mariadb": "BIT(12)"}, [0, 1, 2**12 - 1], as_bits),
    Kind(
        "decimal of 65 digits",
        {"postgresql": "numeric(65,30)", "mariadb": "DECIMAL(65,30)", "sqlite": "DECIMAL_TEXT(65,30)"},
        [
            Decimal(text)
            for text in (
                *("0", "0." + "0" * 29 + "1", "-0." + "0" * 29 + "1", "9" * 35 + "." + "9" * 30, "1" + "0" * 34),
                *(
                    "-" + "9" * 35 + "." + "9" * 30,
                    "12345678901234567890123456789012345.012345678901234567890123456789",
                ),
            )
        ],
        as_decimal,
        stored={"sqlite": lambda value: format(value, "f")},
    ),
    Kind(
        "numeric without a size",
        {"postgresql": "numeric", "sqlite": "DECIMAL_TEXT"},
        [
            Decimal(text)
            for text in (
                *("0", "1", "-1", "0.1", "100", "1e20", "123456789.987654321", "9" * 35, "-0." + "0" * 29 + "9"),
                *("10000", "10000.0001", "0.0001", "0.00001", "99999999", "9999.9999", "1e34", "100000000.00000001"),
            )
        ],
        as_decimal,
        stored={"sqlite": lambda value: format(value, "f")},
    ),
    Kind(
        "numeric of any size",
        {"postgresql": "numeric"},
        [Decimal(text) for text in ("9" * 500 + "." + "9" * 500, "1e-900", "-1e900", "1e131071", "1e-16383")],
        as_decimal,
        targets=("postgresql", "sqlite"),
    ),
    Kind(
        "numeric that is none",
        {"postgresql": "numeric"},
        ["NaN", "Infinity", "-Infinity"],
        as_text,
        read={"postgresql": "{}::text"},
        targets=("postgresql",),
    ),
    # 1.50 and 1.5 are equal, and PostgreSQL tells them apart.
    Kind(
        "numeric with zeros at its end",
        {"postgresql": "numeric"},
        ["1.50", "1.5", "0.000", "100", "-10.0"],
        as_text,
        read={"postgresql": "{}::text"},
        targets=("postgresql",),
    ),
    Kind(
        "double that is no number",
        {"postgresql": "double precision"},
        [-0.0, math.inf, -math.inf, math.nan],
        as_double,
        targets=("postgresql",),
    ),
    Kind(
        "single that is no number",
        {"postgresql": "real"},
        [-0.0, math.inf, -math.inf, math.nan],
        lambda value: struct.pack(">f", value),
        targets=("postgresql",),
    ),
    Kind(
        "single below the normal ones",
        {"postgresql": "real", "mariadb": "FLOAT"},
        [struct.unpack(">f", struct.pack(">I", bits))[0] for bits in (1, 2, 0x7FFFFF, 0x800000, 0x7F7FFFFF)],
        lambda value: struct.pack(">f", value),
        read={"mariadb": "CAST({} AS DOUBLE)"},
    ),
    Kind(
        "infinity",
        {"sqlite": "DOUBLE", "postgresql": "double precision"},
        [math.inf, -math.inf],
        as_double,
        targets=("postgresql", "sqlite"),
    ),
]

TEXTS_AND_BYTES = [
    Kind(
        "char that is filled",
        {"postgresql": "char(10)"},
        [text.ljust(10) for text in ("", "a", " a", "é", "🎉", "ten. chars", "\t", "a\n")],
        as_text,
    ),
    Kind("char that is stripped", {"mariadb": "CHAR(10)"}, ["", "a", " a", "é", "🎉", "ten. chars", "\t"], as_text),
    Kind(
        "char on both sides",
        {"postgresql": "char(10)", "mariadb": "CHAR(10)"},
        ["", "a", " a", "é", "🎉", "ten. chars"],
        as_padded_text,
    ),
    Kind("long char", {"postgresql": "char(5000)"}, ["x".ljust(5000), "é".rjust(5000)], as_text),
    Kind(
        "text with a nul",
        {"mariadb": "LONGTEXT", "sqlite": "TEXT"},
        ["\0", "a\0", "\0b", "a\0b", "é\0🎉", "\0\0", "a\0" * 40_000],
        as_text,
        targets=("mariadb", "sqlite"),
    ),
    Kind("name", {"postgresql": "name"}, ["", "a", "é" * 31], as_text),
    Kind("tinytext", {"mariadb": "TINYTEXT"}, ["", "x" * 255, "\\"], as_text),
    Kind("mediumtext", {"mariadb": "MEDIUMTEXT"}, ["", "x" * 70_000, "é\n"], as_text),
    Kind("latin text", {"mariadb": "VARCHAR(20) CHARACTER SET latin1"}, ["", "é", "Größe", "€"], as_text),
    Kind("enum", {"mariadb": "ENUM('', 'one', 'zwei 2', 'é,''x''')"}, ["", "one", "zwei 2", "é,'x'"], as_text),
    Kind("set", {"mariadb": "SET('a', 'b c', 'é')"}, ["", "a", "b c,é", "a,b c,é"], as_text),
    Kind("bytes of a fixed length", {"mariadb": "BINARY(8)"}, [b"", b"\0", b"12345678", b"\xff" * 8, b"ab"], unpadded),
    Kind("varbinary", {"mariadb": "VARBINARY(300)"}, [b"", b"\0", bytes(range(256)), b" ", b"'\\"], as_bytes),
    Kind("tinyblob", {"mariadb": "TINYBLOB"}, [b"", b"\0", bytes(255)], as_bytes),
    Kind(
        "json",
        {"postgresql": "json", "mariadb": "JSON", "sqlite": "JSON_TEXT"},
        DOCUMENTS,
        as_text,
        read={"postgresql": "{}::text"},
    ),
    opaque("jsonb", "jsonb", ["{}", "null", '{"a": 1, "bb": [1, 2.50, "é🎉\\n"]}', "1" * 400]),
    Kind(
        "uuid",
        {"postgresql": "uuid", "mariadb": "UUID", "sqlite": "UUID_TEXT"},
        [
            "00000000-0000-0000-0000-000000000000",
            "550e8400-e29b-41d4-a716-446655440000",
            "f" * 8 + "-ffff" * 3 + "-" + "f" * 12,
        ],
        as_uuid,
    ),
    Kind("inet6", {"mariadb": "INET6"}, ["::", "::1", "2001:db8::ff00:42:8329", "::ffff:192.0.2.128"], as_text),
]

TIMES = [
    Kind(
        "time beyond a day",
        {"mariadb": "TIME(6)", "sqlite": "TIME"},
        ["838:59:59", "-838:59:59", "24:00:00", "-00:00:00.000001", "100:00:00.5", "23:59:59.999999"],
        as_span,
        targets=("mariadb", "sqlite"),
    ),
    Kind(
        "midnight as 24:00",
        {"postgresql": "time"},
        ["24:00:00", "00:00:00"],
        as_text,
        read={"postgresql": "{}::text"},
        targets=("postgresql",),
    ),
    Kind(
        "milliseconds",
        {"postgresql": "timestamp(3)", "mariadb": "DATETIME(3)"},
        [datetime.datetime(2024, 1, 2, 3, 4, 5, 678_000), datetime.datetime(2024, 1, 2)],
        as_timestamp,
    ),
    Kind(
        "instant",
        {"postgresql": "timestamptz", "mariadb": "TIMESTAMP(6) NULL", "sqlite": "TIMESTAMP WITH TIME ZONE"},
        INSTANTS,
        as_instant,
        stored={"sqlite": str, "mariadb": lambda value: value.replace(tzinfo=None)},
        setup=UTC_SESSION,
    ),
    Kind(
        "instant far away",
        {"postgresql": "timestamptz", "sqlite": "TIMESTAMP WITH TIME ZONE"},
        FAR_INSTANTS,
        as_instant,
        stored={"sqlite": str},
    ),
    Kind(
        "date beyond the calendar",
        {"postgresql": "date"},
        ["infinity", "-infinity", "0044-03-15 BC", "0001-12-31 BC", "4713-01-01 BC"],
        as_text,
        read={"postgresql": "{}::text"},
        targets=("postgresql",),
    ),
    Kind(
        "timestamp beyond the calendar",
        {"postgresql": "timestamp"},
        [
            "infinity",
            "-infinity",
            "0044-03-15 12:34:56.789 BC",
            "0001-12-31 23:59:59.999999 BC",
        ],
        as_text,
        read={"postgresql": "{}::text"},
        targets=("postgresql",),
    ),
    Kind(
        "instant beyond the calendar",
        {"postgresql": "timestamptz"},
        ["infinity", "-infinity", "0044-03-15 12:34:56.789+00 BC"],
        as_text,
        read={"postgresql": "{}::text"},
        targets=("postgresql",),
    ),
    Kind(
        "zero date",
        {"mariadb": "DATE"},
        ["0000-00-00"],
        as_text,
        read={"mariadb": "CAST({} AS CHAR)"},
        targets=("mariadb",),
    ),
    Kind(
        "zero timestamp",
        {"mariadb": "DATETIME(6)"},
        ["0000-00-00 00:00:00.000000"],
        as_text,
        read={"mariadb": "CAST({} AS CHAR)"},
        targets=("mariadb",),
    ),
]

# What PostgreSQL alone knows; its text is exact, and it reads it back.
OPAQUE = [
    opaque("array of integers", "integer[]", ["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={5,6}"]),
    opaque("array of text", "text[]", ["{}", '{a,NULL,"NULL","","b c","\\"q\\"","\\\\",é🎉}']),
    opaque("array of numbers", "numeric(10,2)[]", ["{1.50,NULL,99999999.99}"]),
    opaque(
        "enum of postgresql", "mood", ["sad", "so so", "é'\\"], "CREATE TYPE mood AS ENUM ('sad', 'so so', 'é''\\')"
    ),
    opaque(
        "interval",
        "interval",
        ["00:00:00", "1 year 2 mons -3 days +04:05:06.789", "-178000000 years", "999:59:59.999999"],
    ),
    opaque("inet", "inet", ["192.0.2.1/32", "192.0.2.0/24", "::1/128", "2001:db8::/32"]),
    opaque("cidr", "cidr", ["192.0.2.0/24", "::/0"]),
    opaque("macaddr", "macaddr", ["08:00:2b:01:02:03"]),
    opaque("xml", "xml", ["<a/>", '<a b="1">é &amp; 🎉\n</a>', "text alone", "<x>" + "y" * 70_000 + "</x>"]),
    opaque("bit string", "bit(12)", ["000000000000", "101010101010"]),
    opaque("varying bits", "bit varying(20)", ["", "1", "10101010101010101010"]),
    opaque("money", "money", ["$0.00", "-$1,234.56", "$92,233,720,368,547,758.07"]),
    opaque("range", "int4range", ["empty", "[1,5)", "(,7)", "[3,)"]),
    opaque("range of instants", "tstzrange", ['["2024-03-31 01:00:00+00","2024-10-27 01:00:00+00")']),
    opaque("point", "point", ["(1,2)", "(0.1,-1e-300)"]),
    opaque("tsvector", "tsvector", ["'a' 'b':1,2A"]),
    opaque("timetz", "timetz", ["12:34:56.789+02", "00:00:00-11:30"]),
]

PRODUCT_KINDS = [*NUMBERS, *TEXTS_AND_BYTES, *TIMES, *OPAQUE]
