"""Rows that pass from PostgreSQL's COPY to MariaDB's LOAD DATA as lines of text, unparsed: exact, and copied value by value
where one is in doubt.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pytest
from copying import Copying
from databases import Databases

# What passes from PostgreSQL's COPY to MariaDB's LOAD DATA as lines of text.
PLAIN = {
    "id": "integer NOT NULL PRIMARY KEY",
    "big": "bigint",
    "amount": "numeric(20,5)",
    "day": "date",
    "moment": "timestamp",
    "fixed": "char(4)",
    "short": "varchar(300)",
    "long": "text",
}


def test_numbers_dates_and_text_pass_to_mariadb_unparsed(databases: Databases, copying: Copying) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    control = "".join(chr(code) for code in range(1, 128)) + "é日🎉\\N\\f\\\\v\\"
    rows: list[tuple[Any, ...]] = [
        (1, None, None, None, None, None, None, None),
        (2, -(2**63), Decimal("-0.00001"), date(1, 1, 1), datetime(1, 1, 1), "", "", ""),
        (3, 2**63 - 1, Decimal("999999999999999.99999"), date(9999, 12, 31), datetime.max, "é日 🎉", "\\N", "NULL"),
        (4, 0, Decimal("5.00000"), date(2024, 2, 29), datetime(2024, 2, 29, 1, 2, 3, 500000), "a", control, control),
        *[
            (number, number, Decimal(number), None, None, "b", f"{number}\t", "x\n\x0b\x0c" * 9)
            for number in range(5, 9_000)
        ],
    ]
    source.fill("t", PLAIN, rows)
    copied = copying(source, target)
    assert copied.error("t") is None
    assert copied.tables["t"]["unparsed"] is True
    arrived = target.query("SELECT * FROM t ORDER BY id")
    assert arrived == source.query("SELECT * FROM t ORDER BY id")
    assert [row[:5] + row[6:] for row in arrived] == [row[:5] + row[6:] for row in rows]


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("amount", "NaN"),
        ("day", "infinity"),
        ("day", "0044-03-15 BC"),
        ("day", "10000-01-01"),
        ("moment", "-infinity"),
        ("moment", "10000-01-01 00:00:00"),
    ],
)
def test_a_value_that_means_something_else_as_a_line_is_refused_as_it_always_is(
    databases: Databases, copying: Copying, column: str, value: str
) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.fill("t", PLAIN, [(number, number, None, None, None, None, None, "x" * 200) for number in range(30_000)])
    source.execute(f"UPDATE t SET {column} = %s WHERE id = 29999", value)
    copied = copying(source, target)
    error = copied.error("t")
    assert error is not None
    # A batch has no year 10000, so it is the reader that refuses it.
    code = "copy.value_unreadable" if value.startswith("10000") else "copy.value_refused"
    assert (error["code"], error["column"], error["row"]) == (code, column, 30_000)
    assert target.tables() == set()


def test_a_value_in_doubt_becomes_null_where_the_call_says_so(databases: Databases, copying: Copying) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.fill("t", {"id": "integer NOT NULL PRIMARY KEY", "amount": "numeric(9,2)"}, [(1, 1), (2, "NaN")])
    copied = copying(source, target, nan="null")
    table = copied.tables["t"]
    assert (table["error"], table["nulls_for_nan"], table["unparsed"]) == (None, 1, False)
    assert target.query("SELECT * FROM t ORDER BY id") == [(1, Decimal("1.00")), (2, None)]


def test_a_null_for_a_column_that_takes_none_is_found_before_it_is_sent(databases: Databases, copying: Copying) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.fill("t", {"id": "integer NOT NULL PRIMARY KEY", "amount": "numeric(9,2)"}, [(1, 1), (2, None)])
    target.execute("CREATE TABLE t (id INT NOT NULL PRIMARY KEY, amount DECIMAL(9,2) NOT NULL)")
    copied = copying(source, target)
    error = copied.error("t")
    assert error is not None
    assert (error["code"], error["column"], error["row"]) == ("copy.value_refused", "amount", 2)
    assert target.count("t") == 0
