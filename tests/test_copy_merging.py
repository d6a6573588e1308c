"""The modes upsert, mirror and incremental, which look at keys, and statements around a load; between every pair of products."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from copying import Copying
from databases import DIRECTIONS, PRODUCTS, Database, Databases

TIMES = {"sqlite": "TIMESTAMP", "postgresql": "timestamp", "mariadb": "DATETIME(6)"}

MODES = ("append", "truncate", "replace", "upsert", "mirror", "incremental")

OLD = [(1, "old one", "2026-01-01 00:00:00"), (2, "old two", "2026-01-02 00:00:00"), (9, "gone", None)]
NEW = [(2, "new two", "2026-01-05 00:00:00"), (3, "new three", "2026-01-06 12:30:00.5")]


def columns(database: Database, key: str = " PRIMARY KEY") -> dict[str, str]:
    """The columns of `t`."""
    return {"id": f"INTEGER NOT NULL{key}", "note": "VARCHAR(40)", "modified": TIMES[database.product]}


def rows(database: Database, table: str = "t") -> list[tuple[Any, ...]]:
    """Its rows by their id, without the times."""
    return database.query(f"SELECT id, note FROM {table} ORDER BY id, note")


@pytest.mark.parametrize(("from_product", "to_product"), DIRECTIONS)
def test_every_mode_between_every_two_products(
    databases: Databases, copying: Copying, from_product: str, to_product: str
) -> None:
    source, target = databases(from_product), databases(to_product)
    source.fill("t", columns(source), NEW)
    for mode in MODES:
        target.execute("DROP TABLE IF EXISTS t")
        target.fill("t", columns(target, "" if mode == "append" else " PRIMARY KEY"), OLD)
        options = {"watermark": "modified"} if mode == "incremental" else {}
        # Statements around the load are in its transaction.
        before, after = "DELETE FROM t WHERE id = 9", "UPDATE {target} SET note = 'last' WHERE id = 3"
        around = {"before": before, "after": [after]} if mode != "mirror" else {"after": after}
        copied = copying(source, target, "t", mode=mode, **around, **options)
        assert copied.error("t") is None, (mode, copied.error("t"))
        assert (copied.tables["t"]["mode"], copied.tables["t"]["rows"]) == (mode, 2)
        new, last = (2, "new two"), (3, "last")
        expected = {
            "append": [(1, "old one"), new, (2, "old two"), last],
            "upsert": [(1, "old one"), new, last],
            "incremental": [(1, "old one"), new, last],
        }
        assert rows(target) == expected.get(mode, [new, last]), mode
        assert target.tables() == {"t"}, "something is left behind"


@pytest.mark.parametrize("product", PRODUCTS)
def test_keys_that_come_twice_or_not_at_all_are_counted_and_named_by_their_columns(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    parts = {"Region": "VARCHAR(20)", "Number": "INTEGER", "note": "VARCHAR(20)"}
    source.fill("twice", parts, [("secret", 1, "a"), ("secret", 1, "b"), ("x", 1, "c"), ("x", 1, "d"), ("y", 1, "e")])
    source.fill("lacks", parts, [("secret", None, "a")])
    source.fill("nokey", parts, [("secret", 1, "a")])
    for name in ("twice", "lacks"):
        target.fill(name, parts, [("x", 1, "old")])
        target.execute(f"CREATE UNIQUE INDEX {name}_key ON {name} ({target.quote('Region')}, {target.quote('Number')})")
    target.fill("nokey", parts, [("x", 1, "old")])
    copied = copying(source, target, ["twice", "lacks"], mode="upsert", key=["region", "Number"])
    twice, lacks = copied.error("twice"), copied.error("lacks")
    assert twice is not None and lacks is not None
    assert twice["code"] == lacks["code"] == "copy.duplicate_keys"
    assert "2 values of `Region`, `Number` come more than once" in twice["message"]
    assert "1 row with NULL in the key `Region`, `Number`" in lacks["message"]
    assert "secret" not in copied.stderr + str(twice)
    assert target.query("SELECT note FROM twice") == target.query("SELECT note FROM lacks") == [("old",)]
    error = copying(source, target, "nokey", mode="mirror").error("nokey")
    assert error is not None and error["code"] == "copy.no_key", error


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_first_keys_that_come_more_than_once_are_named_but_for_their_text(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("postgresql" if product == "mariadb" else "mariadb"), databases(product)
    moment = "DATETIME" if source.product == "mariadb" else "TIMESTAMP"
    keys = {"part": "INTEGER", "day": "DATE", "at": moment, "price": "DECIMAL(9,2)", "name": "VARCHAR(20)"}
    rows = [
        (part, "2024-02-29", "2026-01-02 03:04:05", "1.50", "secret") for part in (7, 5, 3, 1, 9) for _ in range(part)
    ]
    source.fill("several", keys, rows)
    source.fill("text", {"name": "VARCHAR(20)"}, [("secret",), ("secret",)])
    source.fill("one", {"id": "BIGINT"}, [(-(2**60),), (-(2**60),), (1,)])
    for name in ("several", "text", "one"):
        columns = {"several": keys, "text": {"name": "VARCHAR(20)"}, "one": {"id": "BIGINT"}}[name]
        kinds = {column: kind if kind != moment else
                 ("DATETIME" if product == "mariadb" else "TIMESTAMP") for column, kind in columns.items()}  # fmt: skip
        quoted = ", ".join(target.quote(column) for column in columns)
        target.execute(f"CREATE TABLE {name} ({target.columns(kinds)})")
        target.execute(f"CREATE UNIQUE INDEX {name}_key ON {name} ({quoted})")

    def message(table: str, *key: str) -> str:
        copied = copying(source, target, table, mode="upsert", key=list(key))
        error = copied.error(table)
        assert error is not None and error["code"] == "copy.duplicate_keys", error
        assert "secret" not in copied.stderr + json.dumps(error)
        return str(error["message"])

    told = message("several", *keys)
    assert "4 values of `part`, `day`, `at`, `price`, `name` come more than once (part=3, day=2024-02-29, at=" in told
    assert [part.split("=")[-1] for part in re.findall(r"part=\d+", told)] == ["3", "5", "7"], told
    assert "price=1.5" in told and told.endswith("; …)"), told
    assert message("text", "name").endswith("1 value of `name` comes more than once"), "text was shown"
    assert f"(id={-(2**60)})" in message("one", "id")


@pytest.mark.parametrize("product", PRODUCTS)
def test_an_incremental_copy_reads_what_is_greater_than_its_mark(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases(product), databases("postgresql" if product == "sqlite" else "sqlite")
    source.fill("t", columns(source), OLD)
    source.fill("n", {"id": "BIGINT", "note": "VARCHAR(40)"}, [(2**53, "a"), (2**53 + 1, "b")])

    def copied(table: str, **options: Any) -> int:
        done = copying(source, target, table, mode="incremental", **options)
        assert done.error(table) is None, done.error(table)
        return int(done.tables[table]["rows"])

    assert copied("t", watermark="Modified") == 3, "the first one reads everything, rows without a watermark too"
    assert copied("t", watermark="modified") == 0
    source.execute("UPDATE t SET note = 'changed', modified = '2026-01-03 00:00:00.000001' WHERE id = 1")
    source.insert("t", [(4, "four", "2026-01-02 23:59:00")])
    assert copied("t", watermark="modified") == 2
    source.insert("t", [(5, "late", "2026-01-02 23:50:00")])
    assert copied("t", watermark="modified") == 0, "it came late"
    assert copied("t", watermark="modified", overlap="15min") == 3
    assert rows(target) == rows(source)
    # Without a key rows are added; numbers are compared as numbers, beyond what a float holds.
    assert copied("n", watermark="id") == 2
    source.insert("n", [(2**53 + 2, "c")])
    assert copied("n", watermark="id") == 1
    assert rows(target, "n") == rows(source, "n")
    error = copying(source, target, "n", mode="incremental", watermark="id", overlap=1).error("n")
    assert error is not None and error["code"] == "copy.no_key", "rows that are read again would be there twice"
    target.execute("DROP TABLE t")
    assert copied("t", watermark="modified") == 5, "what was made anew holds nothing of before"


@pytest.mark.parametrize("product", PRODUCTS)
def test_what_fails_around_a_load_or_after_it_takes_rows_and_mark_back(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    source.fill("t", columns(source), NEW)
    for mode in MODES:
        target.execute("DROP TABLE IF EXISTS t")
        target.fill("t", columns(target), OLD)
        options = {"watermark": "modified"} if mode == "incremental" else {}
        after = ["DELETE FROM t WHERE id = 1", "DELETE FROM no_such_table"]
        error = copying(source, target, "t", mode=mode, after=after, run_id="x", **options).error("t")
        assert error is not None, mode
        assert error["code"] in ("database.not_found", "database.constraint"), error
        assert rows(target) == [(1, "old one"), (2, "old two"), (9, "gone")], mode
        assert target.tables() == {"t"}, "something is left behind"
        assert "dray_journal" not in target.all_tables() or target.count("dray_journal") == 0, mode


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_table_that_an_upsert_makes_has_the_key_that_was_asked_for(
    databases: Databases, copying: Copying, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    source.fill("t", {"region": "VARCHAR(9)", "id": "INTEGER", "note": "TEXT"}, [("a", 1, "x"), ("b", 1, "y")])
    for note in ("x", "z"):
        source.execute(f"UPDATE t SET note = '{note}' WHERE region = 'a'")
        assert copying(source, target, "t", mode="upsert", key=["id", "region"]).error("t") is None
    assert target.query("SELECT region, note FROM t ORDER BY region") == [("a", "z"), ("b", "y")]
    target.insert("t", [("c", 1, "w")])
    copied = copying(source, target, "t", mode="mirror")
    assert copied.error("t") is None
    assert target.count("t") == 2
