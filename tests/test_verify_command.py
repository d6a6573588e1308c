"""`dray verify` and `dray.verify_tables`: two databases compared without copying, and the keys named that differ."""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Dray, Script, Task
from databases import PRODUCTS, SOME_DIRECTIONS, Database, Databases

COLUMNS = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}


def compared(dray: Dray, task: Task, *flags: str, code: int) -> dict[str, Any]:
    """What `dray verify --json` says of the only table that it compares."""
    done = dray("verify", "--source", "Source", "--target", "Target", "--json", *flags, cwd=task.folder, env=task.env)
    assert done.returncode == code, done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    found: dict[str, Any] = table
    return found


def keys(table: dict[str, Any]) -> list[tuple[str, ...]]:
    """The kinds and keys that were named."""
    return [(each["kind"], *each["key"].values()) for each in table["differences"]]


def services(task: Task, source: Database, target: Database) -> None:
    """Both databases as linked services of the task."""
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})


def test_a_plan_that_was_copied_is_equal_and_a_change_is_named(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    for name in ("a", "b", "away"):
        source.fill(name, COLUMNS, [(1, "one"), (2, "two")])
    services(task, source, target)
    plan = 'target = "Target"\nmode = "replace"\n[[copy]]\nsource = "Source"\ntables = "*"\nexclude = "away"\n'
    plan += 'into = "public.{table}_copy"\nwhere = "id > 1"\n'
    (task.folder / "plan.toml").write_text(plan, "utf-8")
    assert dray("copy", "plan.toml", cwd=task.folder, env=task.env).returncode == 0
    done = dray("verify", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert "main.a of Source -> public.a_copy: equal, 1 rows" in done.stdout
    assert "2 tables, all equal, in " in done.stdout
    outputs = task.outputs()
    assert (outputs["tables"], outputs["equal"], outputs["different_tables"]) == (2, True, [])
    assert outputs["dray"]["entrypoint"] == "dray verify"

    target.execute("UPDATE b_copy SET note = 'secret' WHERE id = 2")
    done = dray("verify", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "error: 1 of 2 tables differ: `public.b_copy`"
    assert "b of Source -> public.b_copy: different, 1 rows on both sides\n  different: id=2\n" in done.stdout
    assert "secret" not in done.stdout + done.stderr, "no other cell is shown"
    outputs = task.outputs()
    assert (outputs["equal"], outputs["different_tables"]) == (False, ["public.b_copy"])
    assert outputs["dray"]["error"]["code"] == "verify.different"
    assert target.query("SELECT note FROM b_copy") == [("secret",)], "nothing is changed"


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
@pytest.mark.parametrize(("source_product", "target_product"), SOME_DIRECTIONS)
def test_missing_extra_and_different_rows_are_found_without_reading_all_twice(
    databases: Databases, dray: Dray, task: Task, source_product: str, target_product: str, lanes: str
) -> None:
    source, target = databases(source_product), databases(target_product)
    for database in (source, target):
        database.numbered("t", 20_000, "text ")
    services(task, source, target)
    equal = compared(dray, task, "--table", "t", "--lanes", lanes, code=0)
    assert (equal["equal"], equal["source_rows"], equal["target_rows"]) == (True, 20_000, 20_000)
    assert (equal["rows_read"], equal["differences"], equal["key"]) == (40_000, [], ["id"])
    assert equal["source_checksum"] == equal["target_checksum"]

    target.execute("DELETE FROM t WHERE id = 7777")
    target.execute("UPDATE t SET note = 'other' WHERE id IN (12345, 3)")
    target.execute("INSERT INTO t VALUES (-5, 1, 'new'), (30000, 2, 'new')")
    table = compared(dray, task, "--table", "t", "--lanes", lanes, code=1)
    assert keys(table) == [
        ("extra", "-5"), ("different", "3"), ("missing", "7777"), ("different", "12345"), ("extra", "30000"),
    ]  # fmt: skip
    assert (table["source_rows"], table["target_rows"], table["notes"]) == (20_000, 20_001, [])
    assert 40_001 < table["rows_read"] < 41_000, "only some hundred rows are read again"


@pytest.mark.parametrize("product", PRODUCTS)
def test_many_rows_that_the_target_alone_has_are_searched_as_well(
    databases: Databases, dray: Dray, task: Task, product: str
) -> None:
    source, target = databases("sqlite"), databases(product)
    source.numbered("t", 3, "text ")
    target.numbered("t", 30_000, "text ")
    services(task, source, target)
    table = compared(dray, task, "--table", "t", code=1)
    assert keys(table) == [("extra", str(number)) for number in range(4, 14)], "the first ten"
    assert (table["source_rows"], table["target_rows"]) == (3, 30_000)


# A key of each type, in an order that databases do not agree about.
KEYS: dict[str, tuple[dict[str, str], list[Any]]] = {
    "text": (dict.fromkeys(PRODUCTS, "VARCHAR(40)"), [f"{letter}{number}" for number in range(400)
             for letter in ("a", "B", "ä", "Z_", "é'", "z\\")]),
    "decimal": ({"sqlite": "DECIMAL(12,2)", "postgresql": "numeric(12,2)", "mariadb": "DECIMAL(12,2)"},
                [f"{number}.25" for number in range(-1200, 1200)]),
    "date": (dict.fromkeys(PRODUCTS, "DATE"), [f"{1900 + number // 28:04}-02-{number % 28 + 1:02}"
             for number in range(2400)]),
    "timestamp": ({"sqlite": "DATETIME", "postgresql": "timestamp", "mariadb": "DATETIME(6)"},
                  [f"2024-02-{1 + number // 100:02} 00:00:{number % 60:02}.{number % 100:02}" for number in range(2400)]),
    "uuid": ({"sqlite": "TEXT", "postgresql": "uuid", "mariadb": "CHAR(36)"},
             [f"{number * 2654435761 % 2**32:08x}-0000-0000-0000-000000000000" for number in range(2400)]),
}  # fmt: skip


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_keys_of_every_type_are_told_apart(
    databases: Databases, dray: Dray, task: Task, product: str, kind: str
) -> None:
    types, values = KEYS[kind]
    source, target = databases("sqlite"), databases(product)
    for database in (source, target):
        declared = types[database.product]
        if kind == "text" and product == "mariadb" and database is target:
            declared += " CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        database.fill("t", {"k": f"{declared} NOT NULL PRIMARY KEY", "n": "INTEGER"},
                      [(value, number) for number, value in enumerate(values)])  # fmt: skip
    target.execute("UPDATE t SET n = -1 WHERE n = 77")
    target.execute("DELETE FROM t WHERE n = 2001")
    services(task, source, target)
    table = compared(dray, task, "--table", "t", code=1)
    expected = {("different", values[77]), ("missing", values[2001])}
    found = {(each["kind"], each["key"]["k"]) for each in table["differences"]}
    if kind == "timestamp":
        found = {(which, value.split(".")[0]) for which, value in found}
        expected = {(which, value.split(".")[0]) for which, value in expected}
    assert found == expected
    assert table["notes"] == []
    assert table["rows_read"] < 4_800 + 2_400


def test_a_key_of_several_columns_and_one_that_is_named(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    rows = [(region, number, f"{region}{number}") for region in ("east", "west") for number in range(1_500)]
    for database in (source, target):
        database.execute(
            "CREATE TABLE t (region VARCHAR(8) NOT NULL, number INTEGER NOT NULL, note VARCHAR(20), "
            "PRIMARY KEY (region, number))"
        )
        database.insert("t", rows)
    target.execute("UPDATE t SET note = 'x' WHERE region = 'west' AND number = 3")
    services(task, source, target)
    table = compared(dray, task, "--table", "t", code=1)
    assert (table["key"], table["differences"]) == (
        ["region", "number"], [{"kind": "different", "key": {"region": "west", "number": "3"}}],
    )  # fmt: skip
    table = compared(dray, task, "--table", "t", "--key", "NOTE", code=1)
    assert keys(table) == [("missing", "west3"), ("extra", "x")]


def test_columns_are_chosen_and_renamed_as_in_a_copy(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("t", {**COLUMNS, "away": "INTEGER"}, [(1, "one", 7), (2, "two", 8)])
    services(task, source, target)
    plan = 'target = "Target"\n[[copy]]\nsource = "Source"\ntables = "t"\nexclude_columns = "away"\n'
    (task.folder / "plan.toml").write_text(plan + 'rename = {id = "number"}\n', "utf-8")
    assert dray("copy", "plan.toml", cwd=task.folder, env=task.env).returncode == 0
    target.execute("UPDATE t SET note = 'x' WHERE number = 2")
    done = dray("verify", "plan.toml", "--json", cwd=task.folder, env=task.env)
    assert done.returncode == 1, done.stderr
    (table,) = json.loads(done.stdout)["tables"]
    assert table["differences"] == [{"kind": "different", "key": {"number": "2"}}]


def test_without_a_key_a_table_is_compared_as_a_whole(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    for database in (source, target):
        database.fill("t", {"n": "INTEGER"}, [(1,), (1,), (2,)])
    services(task, source, target)
    assert compared(dray, task, "--table", "t", code=0)["equal"]
    # The same rows, another of them twice.
    target.execute("DELETE FROM t WHERE n = 1")
    target.execute("INSERT INTO t VALUES (1), (2)")
    table = compared(dray, task, "--table", "t", code=1)
    assert (table["source_rows"], table["target_rows"], table["differences"], table["key"]) == (3, 3, [], [])
    assert table["notes"] == ["the table has no key, so it is compared as a whole, and no keys can be named"]


def test_rows_that_the_target_has_twice_are_found(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.fill("t", COLUMNS, [(1, "one"), (2, "two")])
    target.fill("t", {"id": "INTEGER", "note": "VARCHAR(20)"}, [(1, "one"), (2, "two"), (2, "two")])
    services(task, source, target)
    table = compared(dray, task, "--table", "t", code=1)
    assert keys(table) == [("different", "2")]


def test_what_cannot_be_compared_ends_with_1_and_the_others_are(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    for name in ("a", "b"):
        source.fill(name, COLUMNS, [(1, "one")])
    target.fill("a", {**COLUMNS, "more": "INTEGER"}, [(1, "one", 7)])
    services(task, source, target)
    flags = ["--source", "Source", "--table", "a", "--table", "b", "--target", "Target"]
    done = dray("verify", *flags, "--json", cwd=task.folder, env=task.env)
    assert done.returncode == 1
    assert "cannot compare `b`: there is no table `b`" in done.stderr.splitlines()[-1]
    a, b = json.loads(done.stdout)["tables"]
    assert (a["equal"], a["notes"]) == (True, ["columns of the target alone are not compared: `more`"])
    assert (b["equal"], b["error"]["code"], b["error"]["side"]) == (False, "copy.no_such_table", "target")


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--source", "Source", "--table", "a"], 110, "`target` is missing"),
        (["--source", "Sauce", "--table", "a", "--target", "Target"], 112, "Sauce"),
        (
            ["--source", "Source", "--table", "a", "--target", "postgresql://u@127.0.0.1:1/d", "--patience", "0"],
            114,
            "d",
        ),
    ],
    ids=["plan", "connection", "server"],
)
def test_exit_codes_are_those_of_a_copy(
    databases: Databases, dray: Dray, task: Task, flags: list[str], code: int, words: str
) -> None:
    services(task, databases("sqlite"), databases("sqlite"))
    done = dray("verify", *flags, cwd=task.folder, env=task.env)
    assert done.returncode == code, done.stderr
    assert words in done.stderr.splitlines()[-1]


def test_python_compares_with_the_arguments_of_a_copy(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.fill("t", {"id": "INTEGER PRIMARY KEY", "x": "double precision"}, [(1, float("nan")), (2, 0.5)])
    target.fill("t", {"id": "INTEGER PRIMARY KEY", "x": "DOUBLE"}, [(1, None), (3, 0.5)])
    code = """
        import inspect, dray
        comparison = dray.verify_tables(dray.Copy("Source", "t"), target="Target", mode="mirror", nan="null")
        (table,) = comparison.tables
        print(comparison.equal, [(each.kind, each.key) for each in table.differences])
        assert [*inspect.signature(dray.verify_tables).parameters] == [*inspect.signature(dray.copy_tables).parameters]
        print(comparison)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    first, *page = done.stdout.splitlines()
    assert first == "False [('missing', {'id': '2'}), ('extra', {'id': '3'})]"
    assert page[1:3] == ["  missing in the target: id=2", "  in the target alone: id=3"]
