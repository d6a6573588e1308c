"""`constraints="skip"`: a table that is there takes rows without a look at its CHECK and FOREIGN KEY constraints, which are there
again afterwards; where a product cannot, nothing is touched. SQL Server, too, where DRAY_TEST_MSSQL leads to a database that may
be emptied.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Script
from copying import Copying
from databases import Database, Databases, Sqlserver

# How the target is driven: its product, and the lanes.
WAYS = [("mariadb", "auto"), ("mariadb", "odbc")]

PARENTS = "CREATE TABLE parents (id int NOT NULL PRIMARY KEY)"
CHILDREN = (
    "CREATE TABLE children (id int NOT NULL PRIMARY KEY, parent int NOT NULL, amount int NOT NULL, "
    "CONSTRAINT positive CHECK (amount > 0), CONSTRAINT of_parent FOREIGN KEY (parent) REFERENCES parents (id))"
)

# The second is an orphan, the third is not positive.
ROWS = [(1, 1, 5), (2, 7, 5), (3, 1, -5)]


def family(databases: Databases, product: str) -> tuple[Database, Database]:
    """A source with rows that the constraints of the target refuse, and the target, which has one row."""
    source, target = databases("sqlite"), databases(product)
    source.fill("children", {"id": "INTEGER PRIMARY KEY", "parent": "INTEGER", "amount": "INTEGER"}, ROWS)
    target.execute(PARENTS)
    target.execute(CHILDREN)
    target.insert("parents", [(1,)])
    target.insert("children", [(9, 1, 1)])
    return source, target


def children(target: Database) -> list[tuple[Any, ...]]:
    """The rows that the target has."""
    return target.query("SELECT id, parent, amount FROM children ORDER BY id")


def still_refuses(target: Database) -> bool:
    """Whether both constraints are looked at where others write."""
    refused = 0
    for row in ("(20, 77, 1)", "(21, 1, -1)"):
        try:
            target.execute(f"INSERT INTO children VALUES {row}")
        except Exception as error:
            refused += "of_parent" in str(error) or "positive" in str(error)
    return refused == 2


@pytest.mark.parametrize(("product", "lanes"), WAYS)
@pytest.mark.parametrize("mode", ["append", "truncate", "upsert", "mirror"])
def test_rows_that_constraints_refuse_are_in_and_the_constraints_are_there_again(
    databases: Databases, copying: Copying, product: str, lanes: str, mode: str
) -> None:
    source, target = family(databases, product)
    options = {"mode": mode, "lanes": lanes}
    error = copying(source, target, "children", **options).error("children")
    assert error is not None
    assert error["code"] == "database.constraint"
    assert children(target) == [(9, 1, 1)]
    copied = copying(source, target, "children", constraints="skip", **options)
    assert copied.error("children") is None
    assert children(target) == [*ROWS, *([(9, 1, 1)] if mode in ("append", "upsert") else [])]
    assert "unchecked by CHECK and FOREIGN KEY constraints" in copied.tables["children"]["write_lane_reason"]
    assert still_refuses(target)


def test_statements_after_the_rows_are_checked_again(databases: Databases, copying: Copying) -> None:
    source, target = family(databases, "mariadb")
    wrong = "INSERT INTO {target} VALUES (30, 1, -1)"
    error = copying(source, target, "children", constraints="skip", after=wrong).error("children")
    assert error is not None
    assert error["code"] == "database.constraint"
    assert children(target) == [(9, 1, 1)]


def test_the_next_table_of_the_session_is_checked(databases: Databases, copying: Copying) -> None:
    source, target = family(databases, "mariadb")
    source.fill("made", {"id": "INTEGER PRIMARY KEY", "amount": "INTEGER CHECK (amount > 5)"}, [(1, 7)])
    source.execute("PRAGMA ignore_check_constraints = ON")
    source.insert("made", [(2, 3)])
    copied = copying(source, target, ["children", "made"], constraints="skip", parallel=1)
    assert copied.error("children") is None
    error = copied.error("made")
    assert error is not None, "a table that the copy makes is checked in any case"
    assert error["code"] == "database.constraint"


def test_the_dry_run_shows_what_is_done_around_the_rows(databases: Databases, script: Script) -> None:
    source, target = family(databases, "mariadb")
    code = """
        import dray, json
        plan = dray.plan_copy(dray.Copy("Source", "children"), target="Target", constraints="skip", before="SELECT 1")
        (table,) = plan.tables
        print(json.dumps([[s["when"], s["sql"]] for s in table.statements]))
        print(table.write_lane_reason)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    statements, reason = done.stdout.splitlines()
    assert json.loads(statements) == [
        ["before", "SELECT 1"],
        ["before", "SET SESSION foreign_key_checks = 0, check_constraint_checks = 0"],
        ["after", "SET SESSION foreign_key_checks = DEFAULT, check_constraint_checks = DEFAULT"],
    ]
    assert reason.endswith("; unchecked by CHECK and FOREIGN KEY constraints")


@pytest.mark.parametrize(
    ("product", "words"),
    [("postgresql", "PostgreSQL looks at them whoever loads the table"), ("sqlite", "dray knows no way to it")],
)
@pytest.mark.parametrize("table", ["children", "missing"])
def test_a_product_that_cannot_is_refused_before_anything_is_touched(
    databases: Databases, copying: Copying, product: str, words: str, table: str
) -> None:
    source, target = family(databases, product)
    source.numbered("missing", 2, "n")
    before = "DELETE FROM children"
    error = copying(source, target, table, constraints="skip", before=before).error(table)
    assert error is not None
    assert (error["phase"], error["code"]) == ("plan", "copy.constraints")
    assert words in error["message"]
    assert children(target) == [(9, 1, 1)]
    assert target.tables() == {"parents", "children"}


def test_the_word_is_check_or_skip(script: Script) -> None:
    done = script(
        'import dray; dray.copy_table("S", "T", "t", constraints="off")', services={"S": "Driver=x", "T": "Driver=x"}
    )
    assert "constraints is `off`; allowed are `check`, `skip`" in done.stderr


@pytest.fixture
def sqlserver(databases: Databases) -> tuple[Database, Sqlserver]:
    """A source, and SQL Server as the target."""
    source, target = family(databases, "sqlserver")
    assert isinstance(target, Sqlserver)
    return source, target


@pytest.mark.parametrize("mode", ["append", "truncate"])
def test_sql_servers_bulk_copy_does_not_look_at_constraints(
    sqlserver: tuple[Database, Sqlserver], copying: Copying, mode: str
) -> None:
    source, target = sqlserver
    rows = list(ROWS)
    if target.is_babelfish:
        # It looks at foreign keys in any case.
        source.execute("DELETE FROM children WHERE id = 2")
        rows.pop(1)
    assert copying(source, target, "children", mode=mode).error("children") is not None
    assert children(target) == [(9, 1, 1)]
    copied = copying(source, target, "children", mode=mode, constraints="skip")
    assert copied.error("children") is None
    assert children(target) == [*rows, *([(9, 1, 1)] if mode == "append" else [])]
    assert copied.tables["children"]["write_lane"] == "bcp"
    reason = copied.tables["children"]["write_lane_reason"]
    assert "unchecked by `of_parent`, `positive`, which the server trusts no more" in reason
    assert still_refuses(target)


@pytest.mark.parametrize(("way", "mode"), [("odbc", "append"), ("freetds", "truncate"), ("bcp", "upsert")])
def test_sql_servers_constraints_are_off_around_rows_and_those_that_were_off_stay_so(
    sqlserver: tuple[Database, Sqlserver], copying: Copying, way: str, mode: str
) -> None:
    source, target = sqlserver
    if target.is_babelfish:
        pytest.skip("Babelfish has no ALTER TABLE … NOCHECK CONSTRAINT")
    target.execute("ALTER TABLE children ADD CONSTRAINT never CHECK (id < 0)")
    target.execute("ALTER TABLE children NOCHECK CONSTRAINT never")
    if way == "freetds":
        target.odbc = target.freetds
    options = {"mode": mode, "lanes": "auto" if way == "bcp" else "odbc"}
    copied = copying(source, target, "children", constraints="skip", **options)
    assert copied.error("children") is None
    assert children(target) == [*ROWS, *([(9, 1, 1)] if mode != "truncate" else [])]
    views = (
        "SELECT name, is_disabled FROM sys.check_constraints UNION ALL SELECT name, is_disabled FROM sys.foreign_keys"
    )
    assert dict(target.query(views)) == {"never": True, "of_parent": False, "positive": False}
    assert still_refuses(target)


@pytest.mark.parametrize(
    ("options", "places"),
    [("lanes='odbc'", ["before", "after"]), ("mode='upsert'", ["after", "after"]), ("mode='truncate'", [])],
)
def test_the_plan_for_sql_server_shows_which_constraints_are_off_and_when(
    sqlserver: tuple[Database, Sqlserver], script: Script, options: str, places: list[str]
) -> None:
    source, target = sqlserver
    code = f"""
        import dray, json
        plan = dray.plan_copy(dray.Copy("Source", "children"), target="Target", constraints="skip", {options})
        (table,) = plan.tables
        print(json.dumps([[s["when"], s["sql"]] for s in table.statements if "CONSTRAINT" in s["sql"]]))
        print(table.write_lane_reason)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    statements, reason = done.stdout.splitlines()
    names = "CONSTRAINT [of_parent], [positive]"
    off, on = f"ALTER TABLE [children] NOCHECK {names}", f"ALTER TABLE [children] WITH NOCHECK CHECK {names}"
    assert json.loads(statements) == [[place, sql] for place, sql in zip(places, (off, on))]
    assert "; unchecked by `of_parent`, `positive`" in reason


def test_a_table_of_sql_server_without_constraints_has_none_to_leave_unchecked(
    databases: Databases, script: Script
) -> None:
    source, target = family(databases, "sqlserver")
    code = """
        import dray
        report = dray.copy_table("Source", "Target", query="SELECT 5 AS id", into="parents", constraints="skip", lanes="odbc")
        print(report.write_lane_reason)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert "; it has no constraint to leave unchecked" in done.stdout, done.stderr
    assert target.query("SELECT id FROM parents ORDER BY id") == [(1,), (5,)]
