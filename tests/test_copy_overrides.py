"""`overrides`: what is another way for some tables of a copy; and modes of one `dray.Copy`."""

from __future__ import annotations

import pytest
from conftest import Dray, Script, Task
from databases import PRODUCTS, Database, Databases

COLUMNS = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)", "big": "VARCHAR(20)"}


def fill(source: Database, *names: str) -> None:
    """Tables of these names with rows 1 and 2."""
    for name in names:
        if "." in name:
            definition = ", ".join(f"{column} {kind}" for column, kind in COLUMNS.items())
            source.execute(f"CREATE TABLE {name} ({definition})")
            source.execute(f"INSERT INTO {name} VALUES (1, 'one', 'x'), (2, 'two', 'y')")
            continue
        source.fill(name, COLUMNS, [(1, f"{name} 1", "x"), (2, f"{name} 2", "y")])


@pytest.mark.parametrize("product", PRODUCTS)
def test_one_call_upserts_some_tables_and_replaces_others(databases: Databases, script: Script, product: str) -> None:
    source, target = databases("sqlite" if product != "sqlite" else "mariadb"), databases(product)
    fill(source, "orders", "region", "log_1", "log_2")
    old = [(2, "old", "old"), (3, "old", "old")]
    for name in ("orders", "region", "log_1"):
        target.fill(name, COLUMNS, old)
    code = """
        import dray
        copy = dray.Copy("Source", "*", overrides={
            "orders": dict(mode="upsert", exclude_columns="big"),
            "log_*": dict(mode="append", where="id = 1", into="old_{table}", rename={"id": "nr"},
                          after="UPDATE {target} SET big = 'after'"),
        })
        report = dray.copy_tables(copy, target="Target", mode="replace")
        for table in sorted(report.tables, key=lambda table: table.target):
            print(table.target, table.mode, table.rows)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    expected = ["old_log_1 append 1", "old_log_2 append 1", "orders upsert 2", "region replace 2"]
    assert done.stdout.splitlines() == expected
    assert target.query("SELECT id, note, big FROM orders ORDER BY id") == [
        (1, "orders 1", None), (2, "orders 2", "old"), (3, "old", "old"),
    ]  # fmt: skip
    assert target.query("SELECT id, note FROM region ORDER BY id") == [(1, "region 1"), (2, "region 2")]
    assert target.query("SELECT nr, note, big FROM old_log_2") == [(1, "log_2 1", "after")]
    assert target.query("SELECT id, note FROM log_1 ORDER BY id") == [(2, "old"), (3, "old")]


def test_a_copys_own_mode_takes_the_place_of_the_calls(databases: Databases, script: Script) -> None:
    source, target = databases("mariadb"), databases("postgresql")
    fill(source, "a", "b", "c")
    code = """
        import dray
        for _ in range(2):
            report = dray.copy_tables(
                [dray.Copy("Source", "a"), dray.Copy("Source", "b", mode="append", exclude_columns="id"),
                 dray.Copy("Source", "c", key="note", overrides={"c": dict(mode="mirror", where="id > 1")})],
                target="Target", mode="incremental", watermark="id", overlap=1, key="id")
            print([(table.mode, table.rows) for table in report.tables])
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "[('incremental', 2), ('append', 2), ('mirror', 1)]",
        "[('incremental', 1), ('append', 2), ('mirror', 1)]",
    ]
    assert target.count("b") == 4
    assert target.query("SELECT id, note FROM c") == [(2, "c 2")]


def test_a_tables_own_name_comes_before_a_pattern(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("sqlite")
    source.execute("CREATE SCHEMA sales")
    fill(source, "sales.big", "sales.bigger", "sales.small")
    code = """
        import dray
        overrides = {"sales.b*": dict(where="id = 1", into="some_{table}"), "big": dict(columns="id")}
        print(dray.copy_tables(dray.Copy("Source", "sales.*", overrides=overrides), target="Target").rows)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert target.tables() == {"big", "some_bigger", "small"}
    assert target.query("SELECT * FROM big ORDER BY id") == [(1,), (2,)]
    assert target.count("some_bigger") == 1


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"gone": {"mode": "append"}}, "`overrides` has `gone`, and no table of this name is copied"),
        ({"away": {"mode": "append"}}, "`overrides` has `away`, and no table of this name is copied"),
        ({"a*": {}, "?": {}}, "`overrides` has `a*` and `?`, and the table `main.a` is both"),
        ({"*": {"into": "x"}}, "`into` is `x` for 2 tables; put `{table}` into it"),
        ({"a": {"colums": "x"}}, "`overrides` of `a` has `colums`; allowed are `into`, `where`, `columns`,"),
        ({"a": {"mode": "replace", "key": "id"}}, "`key` goes with `upsert`"),
        ({"a": {"mode": "repalce"}}, "mode is `repalce`"),
    ],
    ids=["no table", "excluded", "two patterns", "into", "key", "mode and key", "mode"],
)
def test_an_override_that_makes_no_sense_is_an_error_before_anything_is_copied(
    databases: Databases, script: Script, overrides: dict[str, dict[str, str]], words: str
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    fill(source, "a", "b", "away")
    code = f"""
        import dray
        dray.copy_tables(dray.Copy("Source", "*", exclude=["away"], overrides={overrides!r}), target="Target")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1
    assert words in done.stderr.splitlines()[-1], done.stderr
    assert target.tables() == set()


PLAN = """
target = "Target"
mode = "replace"

[[copy]]
source = "Source"
tables = "*"
columns = ["id", "*"]
rename = { note = "Notiz" }

[copy.overrides."main.orders"]
mode = "upsert"
key = "note"
before = "DELETE FROM {target} WHERE id = 9"

[copy.overrides."log_*"]
columns = "id"
"""


def test_a_plan_has_columns_and_overrides_and_its_dry_run_says_them(
    databases: Databases, dray: Dray, task: Task
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    fill(source, "orders", "region", "log_1")
    target.execute("CREATE TABLE orders (id INTEGER, note VARCHAR(20) UNIQUE, Notiz VARCHAR(20), big VARCHAR(20))")
    target.insert("orders", [(7, "orders 1", "kept", "old"), (9, "gone", "", "")])
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    plan = PLAN.replace('key = "note"', 'key = "note"\nrename = {}')
    (task.folder / "plan.toml").write_text(PLAN, "utf-8")
    done = dray("copy", "plan.toml", "--dry-run", cwd=task.folder, env=task.env)
    assert done.returncode == 1, done.stderr
    assert "the key's column `note` is not among the columns that are copied" in done.stderr.splitlines()[-1]
    (task.folder / "plan.toml").write_text(plan, "utf-8")
    done = dray("copy", "plan.toml", "--dry-run", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    for words in (
        "main.orders of Source -> orders (upsert, is there)",
        "main.region of Source -> region (replace, is made)",
        "note VARCHAR(20) -> Notiz VARCHAR(20)",
        'DELETE FROM "orders" WHERE id = 9',
        'CREATE TABLE "log_1" (',
        'PRIMARY KEY ("id")',
    ):
        assert words in done.stdout, done.stdout
    done = dray("copy", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id, note, Notiz, big FROM orders ORDER BY id") == [
        (1, "orders 1", "kept", "x"), (2, "orders 2", None, "y"),
    ]  # fmt: skip
    assert target.query('SELECT "Notiz" FROM region ORDER BY id') == [("region 1",), ("region 2",)]
    assert target.query("SELECT * FROM log_1") == [(1,), (2,)]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("rename = 'a'\n", "`copy[1].rename` is `a`; allowed: names with another one each"),
        ("[copy.overrides.t]\ncolums = 'a'\n", '`copy[1].overrides."t".colums` is no key of a plan, `columns` is the'),
        ("[copy.overrides.t]\nsource = 'a'\n", '`copy[1].overrides."t".source` is no key of a plan'),
        (
            "[copy.overrides]\nt = 'a'\n",
            "`copy[1].overrides` is a table; allowed: names of tables with a table of keys",
        ),
    ],
)
def test_a_plans_mistake_is_named_with_its_place(dray: Dray, task: Task, keys: str, words: str) -> None:
    text = "target = 'B'\n[[copy]]\nsource = 'A'\ntables = 't'\n"
    (task.folder / "plan.toml").write_text(text + keys, "utf-8")
    done = dray("copy", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 110
    assert words in done.stderr.splitlines()[-1], done.stderr


def test_columns_and_rename_are_flags(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    fill(source, "a")
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    flags = ["--source", "Source", "--table", "a", "--target", "Target", "--columns", "note", "--columns", "id"]
    done = dray("copy", *flags, "--rename", "note=n=1", "--rename", "id=nr", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert target.query('SELECT "n=1", nr FROM a ORDER BY nr') == [("a 1", 1), ("a 2", 2)]
    done = dray("copy", *flags, "--rename", "note", cwd=task.folder, env=task.env)
    assert done.returncode == 110
    assert "`copy[1].rename` is `note`" in done.stderr
