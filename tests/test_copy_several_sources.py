"""One call that copies out of several databases, of which one refuses, is down, or sleeps: the others are copied, and every
table that was asked for stands in the report.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import Dray, Script, Task
from databases import Database, Databases

COPY = """
import dataclasses, json, sys
import dray

try:
    report = dray.copy_tables({copies}, target="Target"{options})
    raised = None
except dray.CopyError as error:
    report, raised = error.report, {{"message": str(error), "code": error.code, "exit_code": error.exit_code}}
print(json.dumps({{"report": report and dataclasses.asdict(report), "raised": raised}}))
"""


def wrong(database: Database) -> str:
    """The connection string with another password."""
    return re.sub(r"(?i)pwd=[^;]*", "PWD=wrong", database.odbc)


def copied(script: Script, services: dict[str, Any], copies: str, **options: Any) -> tuple[dict[str, Any], Any]:
    """The tables of the report by their target, and what was raised."""
    told = "".join(f", {name}={value!r}" for name, value in options.items())
    done = script(COPY.format(copies=copies, options=told), services=services)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["report"] is not None, answer
    return {table["target"]: table for table in answer["report"]["tables"]}, answer["raised"]


@pytest.mark.parametrize("parallel", [1, 4])
def test_a_refused_login_ends_its_source_alone_and_no_table_is_missing_in_the_report(
    databases: Databases, script: Script, parallel: int
) -> None:
    refusing, good, target = databases("postgresql"), databases("sqlite"), databases("postgresql")
    for name in ("a", "b", "c"):
        good.fill(f"good_{name}", {"id": "INTEGER"}, [(1,)])
    tables, raised = copied(
        script,
        {"Refusing": wrong(refusing), "Good": good.odbc, "Target": target.odbc},
        "[dray.Copy('Refusing', [f'bad_{n:02}' for n in range(20)]), dray.Copy('Good', ['good_a', 'good_b', 'good_c'])]",
        parallel=parallel,
    )
    assert len(tables) == 23
    assert [name for name, table in tables.items() if table["error"] is None] == ["good_a", "good_b", "good_c"]
    assert target.tables() == {"good_a", "good_b", "good_c"}
    bad = [table["error"] for table in tables.values() if table["error"]]
    begun = [error for error in bad if error["code"] != "copy.not_begun"]
    # As many as were begun at once, and no twenty, which would lock the account.
    assert 1 <= len(begun) <= parallel
    for error in bad:
        assert "`Refusing`" in error["message"], error
        assert (error["phase"], error["side"]) == ("connect", "source"), error
    assert raised["code"] == begun[0]["code"]
    assert raised["exit_code"] == 114
    assert "(and 19 more of 23 tables)" in raised["message"]


def test_a_refused_login_of_the_target_ends_the_call(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    done = script(
        "import dray; dray.copy_tables(dray.Copy('Source', ['t', 'u']), target='Target')",
        services={"Source": source.odbc, "Target": wrong(target)},
    )
    assert done.returncode == 114, done.stderr
    assert "`Target`" in done.stderr.splitlines()[-1]


def test_what_dray_copy_says_counts_the_tables_that_were_not_begun(
    databases: Databases, dray: Dray, task: Task
) -> None:
    refusing, good, target = databases("mariadb"), databases("sqlite"), databases("sqlite")
    good.fill("good", {"id": "INTEGER"}, [(1,)])
    task.write_activity(
        linked_services={"Refusing": wrong(refusing), "Good": good.odbc, "Target": target.odbc},
    )
    plan = 'target = "Target"\nparallel = 1\n[[copy]]\nsource = "Refusing"\ntables = ["a", "b", "c"]\n'
    (task.folder / "plan.toml").write_text(plan + '[[copy]]\nsource = "Good"\ntables = "good"\n', "utf-8")
    done = dray("copy", "plan.toml", cwd=task.folder, env=task.env)
    assert done.returncode == 114, done.stderr
    assert "1 of 4 tables" in done.stdout
    outputs = task.outputs()
    assert (outputs["tables"], outputs["failed_tables"]) == (1, ["a", "b", "c"])
    assert [table["target"] for table in outputs["dray"]["copies"]] == ["a", "b", "c", "good"]
