"""`before_run` and `after_run`: statements of the target that are run once for a call."""

from __future__ import annotations

import json

import pytest
from conftest import Dray, Script, Task
from databases import PRODUCTS, Databases

COLUMNS = {"id": "INTEGER NOT NULL PRIMARY KEY", "note": "VARCHAR(20)"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_statements_are_run_once_before_the_first_table_and_after_the_last(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases("sqlite" if product != "sqlite" else "postgresql"), databases(product)
    for name in ("a", "b"):
        source.fill(name, COLUMNS, [(1, "one"), (2, "two")])
    code = """
        import dray
        report = dray.copy_tables(
            dray.Copy("Source", ["a", "b"]), target="Target",
            before_run=["CREATE TABLE seen (moment VARCHAR(10), total INTEGER)", "INSERT INTO seen VALUES ('before', 0)"],
            after_run="INSERT INTO seen SELECT 'after', COUNT(*) + (SELECT COUNT(*) FROM b) FROM a")
        print(report.rows, report.error)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert (done.returncode, done.stdout.strip()) == (0, "4 None"), done.stderr
    assert target.query("SELECT moment, total FROM seen ORDER BY total") == [("before", 0), ("after", 4)]


def test_a_statement_that_fails_before_the_first_table_takes_the_others_back_and_copies_nothing(
    databases: Databases, script: Script
) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("a", COLUMNS, [(1, "one")])
    code = """
        import dray
        dray.copy_tables(dray.Copy("Source", "a"), target="Target",
                         before_run=["CREATE TABLE seen (id INTEGER)", "SELECT * FROM missing"])
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1
    assert "statement 2 of `before_run` failed" in done.stderr.splitlines()[-1]
    assert target.tables() == set()


def test_tables_stay_where_a_statement_after_the_last_one_fails(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("a", COLUMNS, [(1, "one")])
    code = """
        import dray
        try:
            dray.copy_tables(dray.Copy("Source", "a"), target="Target", after_run=["SELECT 1", "SELECT * FROM missing"])
        except dray.CopyError as error:
            print(error.code, error.report.rows, error.report.tables[0].error, error.report.error["sqlstate"])
            print(error)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    facts, message = done.stdout.splitlines()[:2]
    assert facts == "database.not_found 1 None 42P01"
    assert message.startswith("all tables are copied, but statement 2 of `after_run` failed: ")
    assert target.query("SELECT id, note FROM a") == [(1, "one")]


def test_after_a_table_that_failed_nothing_more_is_run(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("a", COLUMNS, [(1, "one")])
    source.fill("b", COLUMNS, [(1, "longer than that")])
    target.execute("CREATE TABLE b (id INTEGER, note VARCHAR(3))")
    code = """
        import dray
        dray.copy_tables(dray.Copy("Source", ["a", "b"]), target="Target", after_run="CREATE TABLE seen (id INTEGER)")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1
    assert target.tables() == {"a", "b"}


def test_a_plan_has_them_and_a_dry_run_shows_them_and_runs_none(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("a", COLUMNS, [(1, "one")])
    task.write_activity(linked_services={"Source": source.odbc, "Target": target.odbc})
    plan = {
        "target": "Target",
        "before_run": "CREATE TABLE seen (id INTEGER)",
        "after_run": ["INSERT INTO seen SELECT id FROM a"],
        "copy": {"source": "Source", "tables": "a"},
    }
    (task.folder / "plan.json").write_text(json.dumps(plan))
    shown = dray("copy", "plan.json", "--dry-run", cwd=task.folder)
    assert shown.returncode == 0, shown.stderr
    assert "once, before the tables\n  CREATE TABLE seen (id INTEGER)\n" in shown.stdout
    assert "once, after the tables\n  INSERT INTO seen SELECT id FROM a" in shown.stdout
    assert target.tables() == set()
    done = dray("copy", "plan.json", cwd=task.folder)
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id FROM seen") == [(1,)]
