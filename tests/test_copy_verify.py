"""`verify=` of a copy: before the commit the rows in the target are counted, or their checksum is compared with that of what
was read.
"""

from __future__ import annotations

import datetime
import uuid
from decimal import Decimal
from pathlib import Path

import pytest
from copying import LANES, Copying
from databases import PRODUCTS, SOME_DIRECTIONS, Database, Databases
from exact_values import KINDS
from product_values import PRODUCT_KINDS

COLUMNS = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}
ROWS = [(1, "one"), (2, "two"), (3, None)]

# A trigger of the target by which the row with id 2 does not come.
DROPS = {
    "sqlite": ["CREATE TRIGGER drops BEFORE INSERT ON t WHEN NEW.id = 2 BEGIN SELECT RAISE(IGNORE); END"],
    "postgresql": [
        "CREATE FUNCTION drops() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id = 2 THEN RETURN NULL; END IF; RETURN NEW; END'",
        "CREATE TRIGGER drops BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION drops()",
    ],
}

# One by which it comes with another value.
CHANGES = {
    "sqlite": [
        "CREATE TRIGGER changes AFTER INSERT ON t WHEN NEW.id = 2 BEGIN "
        "UPDATE t SET note = upper(note) WHERE id = NEW.id; END"
    ],
    "postgresql": [
        "CREATE FUNCTION changes() RETURNS trigger LANGUAGE plpgsql AS "
        "'BEGIN IF NEW.id = 2 THEN NEW.note := upper(NEW.note); END IF; RETURN NEW; END'",
        "CREATE TRIGGER changes BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION changes()",
    ],
    "mariadb": [
        "CREATE TRIGGER changes BEFORE INSERT ON t FOR EACH ROW SET NEW.note = IF(NEW.id = 2, 'TWO', NEW.note)"
    ],
}


def with_trigger(databases: Databases, product: str, trigger: dict[str, list[str]]) -> tuple[Database, Database]:
    """A source, and a target whose table `t` has a row of its own and a trigger."""
    source, target = databases("sqlite" if product != "sqlite" else "postgresql"), databases(product)
    source.fill("t", COLUMNS, ROWS)
    target.fill("t", COLUMNS, [(9, "old")])
    for sql in trigger[product]:
        target.execute(sql)
    return source, target


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), SOME_DIRECTIONS)
def test_rows_are_counted_unless_something_else_is_asked_for(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    source.fill("t", COLUMNS, ROWS)
    for mode in ("append", "truncate", "replace", "upsert"):
        copied = copying(source, target, "t", mode=mode, lanes=lanes)
        assert copied.error("t") is None
        assert (copied.tables["t"]["verified"], copied.tables["t"]["checksum"]) == ("count", None)
    assert target.query("SELECT id, note FROM t ORDER BY id") == ROWS
    # Beside rows that are there, it is the server that counts what it takes.
    source.execute("DELETE FROM t")
    source.insert("t", [(4, "four"), (5, "five")])
    copied = copying(source, target, "t", lanes=lanes)
    assert copied.error("t") is None
    # psqlodbc tells of one row, however many an array has.
    is_told = (target_product, lanes) != ("postgresql", "odbc")
    assert copied.tables["t"]["verified"] == ("count" if is_told else "")
    assert target.count("t") == 5


@pytest.mark.parametrize(
    ("product", "mode", "lanes", "verify"),
    [
        (product, mode, lanes, verify)
        for product in DROPS
        for mode in ("append", "truncate")
        for lanes in LANES
        for verify in ("count", "checksum")
        if (product, mode, lanes, verify) != ("postgresql", "append", "odbc", "count")
    ],
)
def test_a_row_that_does_not_come_fails_its_table(
    databases: Databases, copying: Copying, product: str, mode: str, lanes: str, verify: str
) -> None:
    source, target = with_trigger(databases, product, DROPS)
    copied = copying(source, target, "t", mode=mode, verify=verify, lanes=lanes)
    error = copied.error("t")
    assert error is not None
    assert (error["code"], error["side"]) == ("copy.verify_count", "target")
    assert "2 rows, and 3 were read" in error["message"]
    assert copied.tables["t"]["verified"] == ""
    assert target.query("SELECT id, note FROM t") == [(9, "old")], "it is as it was before"
    # Whoever knows of the trigger can have it so.
    copied = copying(source, target, "t", mode=mode, verify="none", lanes=lanes)
    assert copied.error("t") is None
    assert copied.tables["t"]["verified"] == ""
    assert (1, "one") in target.query("SELECT id, note FROM t")


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize("mode", ["append", "truncate"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_a_value_that_arrives_as_another_one_fails_its_table(
    databases: Databases, copying: Copying, product: str, mode: str, lanes: str
) -> None:
    source, target = with_trigger(databases, product, CHANGES)
    copied = copying(source, target, "t", mode=mode, verify="checksum", lanes=lanes)
    error = copied.error("t")
    assert error is not None
    assert (error["code"], error["side"]) == ("copy.verify_checksum", "target")
    assert "TWO" not in str(error) and "two" not in str(error), "no value of a cell"
    assert (copied.tables["t"]["verified"], copied.tables["t"]["checksum"]) == ("", None)
    assert target.query("SELECT id, note FROM t") == [(9, "old")], "it is as it was before"
    copied = copying(source, target, "t", mode=mode, verify="count", lanes=lanes)
    assert copied.error("t") is None, "as many rows have come"


# What each product has a type for, with values that they spell differently.
MANY_TYPES = {
    "id": "integer NOT NULL PRIMARY KEY",
    "flag": "boolean",
    "big": "bigint",
    "amount": "numeric(15,4)",
    "real8": "double precision",
    "real4": "real",
    "code": "char(6)",
    "note": "text",
    "raw": "bytea",
    "day": "date",
    "moment": "timestamp(6)",
    "instant": "timestamptz(6)",
    "clock": "time(6)",
    "tag": "uuid",
    "document": "json",
}


def many_rows() -> list[tuple[object, ...]]:
    """Rows for MANY_TYPES."""
    berlin = datetime.timezone(datetime.timedelta(hours=2))
    rows: list[tuple[object, ...]] = [
        (
            number, number % 2 == 0, -(7**number), Decimal(number) / 8 + number, number / 7, 0.5 + number, f"c{number}",
            f"é€😀 {number}", bytes([number, 0, 255]), datetime.date(1900 + number, 2, 28),
            datetime.datetime(2024, 2, 29, 23, 59, 59, 1000 * number),
            datetime.datetime(2024, 3, 1, 0, 30, 0, 250_000, berlin), datetime.time(1, 2, 3, number),
            uuid.UUID(int=number << 64 | 0xABCDEF), f'{{"a":  {number}}}',
        )
        for number in range(1, 20)
    ]  # fmt: skip
    return [*rows, (0, *[None] * (len(MANY_TYPES) - 1))]


def test_the_checksum_is_the_same_whatever_products_the_rows_pass(databases: Databases, copying: Copying) -> None:
    first = databases("postgresql")
    first.fill("t", MANY_TYPES, many_rows())
    stations = [first, databases("mariadb"), databases("sqlite"), databases("postgresql")]
    tables = []
    for source, target in zip(stations, stations[1:]):
        copied = copying(source, target, "t", verify="checksum")
        assert copied.error("t") is None
        assert copied.tables["t"]["verified"] == "checksum"
        tables.append(copied.tables["t"])
    checksums = {table["checksum"] for table in tables}
    assert len(checksums) == 1, tables
    assert len(checksums.pop()) == 32
    # And it is another one if any value is.
    stations[1].execute("UPDATE t SET amount = amount + 0.0001 WHERE id = 3")
    changed = copying(stations[1], stations[2], "t", mode="truncate", verify="checksum")
    assert changed.tables["t"]["verified"] == "checksum"
    assert changed.tables["t"]["checksum"] != tables[0]["checksum"]


@pytest.mark.parametrize("lanes", LANES)
@pytest.mark.parametrize(("source_product", "target_product"), SOME_DIRECTIONS)
def test_every_kind_of_value_is_read_back_as_it_was_written(
    databases: Databases, copying: Copying, source_product: str, target_product: str, lanes: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    if source_product == "mariadb":
        source.execute("SET SESSION sql_mode = ''")  # else the server refuses zero dates itself
    for kind in [*KINDS, *PRODUCT_KINDS]:
        if source_product in kind.types and target_product in kind.targets:
            kind.fill(source, kind.name.replace(" ", "_").replace(":", "_"))
            kind.prepare(target)
    counted = copying(source, target, mode="replace", verify="count", lanes=lanes)
    verified = copying(source, target, mode="replace", verify="checksum", lanes=lanes)
    arrived = {name for name, table in counted.tables.items() if table["error"] is None}
    failed = {name: table["error"] for name, table in verified.tables.items() if table["error"] is not None}
    assert {name: failed[name] for name in arrived & failed.keys()} == {}
    assert len(arrived) > 15
    assert {verified.tables[name]["verified"] for name in arrived} == {"checksum"}


@pytest.mark.parametrize("mode", ["append", "upsert", "incremental", "mirror", "truncate", "replace"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_checksum_is_that_of_the_rows_that_came(
    databases: Databases, copying: Copying, product: str, mode: str
) -> None:
    source, target, alone = databases("sqlite"), databases(product), databases(product)
    source.fill("t", COLUMNS, ROWS)
    key = {"incremental": {"watermark": "id"}}.get(mode, {})
    expected = copying(source, alone, "t", verify="checksum").tables["t"]["checksum"]
    target.fill("t", COLUMNS, [(7, "old"), (9, "old")])
    copied = copying(source, target, "t", mode=mode, verify="checksum", **key)
    assert copied.error("t") is None
    table = copied.tables["t"]
    assert (table["verified"], table["rows"], table["checksum"]) == ("checksum", 3, expected)


@pytest.mark.parametrize("product", PRODUCTS)
def test_rows_pass_parsed_where_their_checksum_is_asked_for(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases(product), databases(product)
    source.fill("t", COLUMNS, ROWS)
    for verify, unparsed in (("count", product != "mariadb"), ("checksum", False)):
        table = copying(source, target, "t", mode="replace", verify=verify).tables["t"]
        assert (table["error"], table["unparsed"]) == (None, unparsed)
    if product != "mariadb":
        assert table["read_lane_reason"].endswith("; value by value, for the checksum")


def test_values_that_were_changed_on_request_are_those_that_are_compared(
    databases: Databases, copying: Copying
) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.fill("t", {"id": "integer", "value": "double precision"}, [(1, float("inf")), (2, float("nan")), (3, 0.1)])
    copied = copying(source, target, "t", verify="checksum", infinity="null", nan="null")
    assert copied.error("t") is None
    assert copied.tables["t"]["verified"] == "checksum"
    assert target.query("SELECT id, value FROM t ORDER BY id") == [(1, None), (2, None), (3, 0.1)]


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_large_table_is_read_back_within_the_memory_limit(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    source.numbered("t", 40_000, "x" * 3_000)
    copied = copying(source, target, "t", verify="checksum", memory_limit="64MiB")
    assert copied.error("t") is None
    assert copied.tables["t"]["verified"] == "checksum"
    assert copied.growth_kib < 64 << 10, "of 120 MB"


@pytest.mark.parametrize("verify", ["count", "checksum"])
@pytest.mark.parametrize("mode", ["append", "truncate"])
@pytest.mark.parametrize("product", PRODUCTS)
def test_rows_that_are_left_out_are_not_missed(
    databases: Databases, copying: Copying, tmp_path: Path, product: str, mode: str, verify: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    source.fill("t", COLUMNS, [(number, "a" * number) for number in range(1, 30)])
    target.execute("CREATE TABLE t (id INTEGER NOT NULL PRIMARY KEY, note VARCHAR(25), CHECK (id <> 7 AND id <> 20))")
    target.insert("t", [(100, "old")])
    options = {"on_reject": "file", "rejects": str(tmp_path / "rejects")}
    copied = copying(source, target, "t", mode=mode, verify=verify, **options)
    assert copied.error("t") is None
    table = copied.tables["t"]
    rows = 27 if product == "sqlite" else 23  # it keeps longer texts
    assert (table["rows"], table["rejected"], table["verified"]) == (rows, 29 - rows, verify)
    assert target.count("t") == (rows + 1 if mode == "append" else rows)


def test_what_verify_does_not_know_is_refused(databases: Databases, copying: Copying) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", COLUMNS, ROWS)
    process = copying.start(source, target, "t", verify="twice")
    _, stderr = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "verify is `twice`; allowed are `count`, `checksum`, `none`" in stderr
