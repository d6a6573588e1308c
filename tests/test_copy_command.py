"""`dray copy`: a plan in a file, in the activity or in flags becomes tables, in a run like that of a script."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any, Optional

import jsonschema
import pytest
from conftest import Dray, Script, Task
from databases import PRODUCTS, Database, Databases

PLAN = """
target = "Target"
mode = "replace"

[[copy]]
source = "Source"
tables = ["a*", "b"]
exclude = "away"

[[copy]]
source = "Source"
query = "SELECT id + 1 AS id FROM b"
into = "more"
"""


def prepare(databases: Databases, task: Task, properties: Optional[dict[str, Any]] = None) -> tuple[Database, Database]:
    """Two databases, the first with tables `a`, `away` and `b`, as linked services of the task."""
    source, target = databases("sqlite"), databases("sqlite")
    for name in ("a", "away", "b"):
        source.fill(name, {"id": "INTEGER"}, [(1,), (2,)])
    task.write_activity(properties, linked_services={"Source": source.odbc, "Target": target.odbc})
    return source, target


def write(task: Task, text: str, name: str = "plan.toml") -> str:
    """A plan in the task's folder."""
    (task.folder / name).write_text(text, "utf-8")
    return name


def test_a_plan_is_carried_out_and_told_in_outputs_json(databases: Databases, dray: Dray, task: Task) -> None:
    _, target = prepare(databases, task)
    done = dray("copy", write(task, PLAN), cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert target.tables() == {"a", "b", "more"}
    assert target.query("SELECT id FROM more ORDER BY id") == [(2,), (3,)]
    assert done.stdout.startswith("3 of 3 tables, 6 rows, ")
    outputs = task.outputs()
    assert (outputs["tables"], outputs["rows"], outputs["failed_tables"]) == (3, 6, [])
    assert (outputs["dray"]["entrypoint"], outputs["dray"]["status"]) == ("dray copy", "succeeded")
    assert [copy["target"] for copy in outputs["dray"]["copies"]]
    assert {path.name for path in task.folder.iterdir()} == {
        "plan.toml", "activity.json", "linkedServices.json", "datasets.json", "outputs.json",
    }  # fmt: skip


def test_flags_copy_a_table_without_a_plan(databases: Databases, dray: Dray, task: Task) -> None:
    _, target = prepare(databases, task)
    flags = ["--source", "Source", "--table", "a", "--target", "Target", "--into", "c", "--where", "id > 1"]
    done = dray("copy", *flags, "--mode", "replace", "--json", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id FROM c") == [(2,)]
    (table,) = json.loads(done.stdout)["tables"]
    assert (table["target"], table["rows"], table["mode"]) == ("c", 1, "replace")


@pytest.mark.parametrize("as_text", [False, True])
def test_the_plan_may_be_an_extended_property_and_a_flag_wins(
    databases: Databases, dray: Dray, task: Task, as_text: bool
) -> None:
    plan = {"target": "Target", "mode": "append", "copy": [{"source": "Source", "tables": "b", "into": "c"}]}
    _, target = prepare(databases, task, {"copy": json.dumps(plan) if as_text else plan})
    target.fill("c", {"id": "INTEGER"}, [(9,)])
    done = dray("copy", "--mode", "truncate", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    assert target.query("SELECT id FROM c ORDER BY id") == [(1,), (2,)]


def test_a_failed_table_ends_with_1_and_the_others_are_copied(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = prepare(databases, task)
    source.fill("c", {"id": "INTEGER"}, [("no number",)])
    target.execute("CREATE TABLE c (id REAL)")
    plan = 'target = "Target"\n[[copy]]\nsource = "Source"\ntables = ["a", "c", "b"]\n'
    done = dray("copy", write(task, plan), cwd=task.folder, env=task.env)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: cannot copy `c` to `c`: ")
    assert done.stdout.startswith("2 of 3 tables, 4 rows, ")
    outputs = task.outputs()
    assert (outputs["tables"], outputs["failed_tables"]) == (2, ["c"])
    assert outputs["dray"]["error"]["code"].startswith("copy.")
    assert target.tables() == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("plan", "arguments", "exit_code", "words"),
    [
        ("traget = 'B'\n", [], 110, ["`traget` is no key of a plan", "`target` is the nearest", "plan.toml"]),
        ("target = 'B'\nmode = 'repalce'\n", [], 110, ["`mode` is `repalce`", "`replace`", "plan.toml"]),
        ("target = 'B'\ncopy = 3\n", [], 110, ["`copy` is `3`"]),
        ("target = \n", [], 110, ["plan.toml", "is not TOML: line 1"]),
        (PLAN, ["--parallel", "none"], 110, ["the command line: `parallel` is `none`"]),
        (PLAN, ["--source", "Source"], 110, ["`--source`"]),
        (PLAN.replace('"Source"', '"Sauce"'), [], 112, ["Sauce"]),
        (PLAN + 'memory_limt = "1GiB"\n', [], 110, ["`copy[2].memory_limt` is no key"]),
    ],
    ids=["key", "word", "no copies", "no TOML", "flag", "both", "connection", "key of a copy"],
)
def test_what_makes_no_sense_is_named_with_its_place(
    databases: Databases, dray: Dray, task: Task, plan: str, arguments: list[str], exit_code: int, words: list[str]
) -> None:
    _, target = prepare(databases, task)
    done = dray("copy", write(task, plan), *arguments, cwd=task.folder, env=task.env)
    assert done.returncode == exit_code, done.stderr
    last = done.stderr.splitlines()[-1]
    assert all(word in last for word in words), last
    assert task.outputs()["dray"]["exit_code"] == exit_code
    assert target.tables() == set()


def test_without_a_plan_it_is_said_where_one_may_be(dray: Dray, task: Task) -> None:
    task.write_activity({"copy": {"target": "B"}})
    done = dray("copy", cwd=task.folder, env=task.env)
    assert (done.returncode, "`copy` is missing" in done.stderr) == (112, True), done.stderr
    task.write_activity()
    done = dray("copy", cwd=task.folder, env=task.env)
    assert done.returncode == 110
    assert "no plan is named" in done.stderr.splitlines()[-1]


def test_a_password_in_a_plan_is_masked(dray: Dray, task: Task) -> None:
    text = 'target = "postgresql://etl:hush-hush@127.0.0.1:1/d"\n[[copy]]\nsource = "sqlite:///a.db"\ntables = "t"\n'
    done = dray("copy", write(task, text), cwd=task.folder, env=task.env)
    assert done.returncode == 114, done.stderr
    assert "hush-hush" not in done.stdout + done.stderr + json.dumps(task.outputs())


def test_modules_and_connections_of_the_current_folder(databases: Databases, dray: Dray, tmp_path: Path) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    folder = tmp_path / "here"
    folder.mkdir()
    for module in ("json", "dataclasses", "copy", "logging"):
        (folder / f"{module}.py").write_text("raise SystemExit('a module of the current folder was imported')\n")
    connections = f'[tool.dray.connections]\nHere = "{source.odbc}"\nThere = "{target.odbc}"\n'
    (folder / "pyproject.toml").write_text(connections, "utf-8")
    (folder / "requirements.txt").write_text("no-such-package-of-anybody\n", "utf-8")
    done = dray("copy", "--source", "Here", "--table", "t", "--target", "There", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert target.count("t") == 1


# What an editor would mark in a plan, and what it would not.
GOOD = [
    {"target": "B", "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "copy": {"source": "A", "tables": ["t", "u*"], "exclude": ["x"], "where": "id = 1"}},
    {"target": "B", "memory_limit": "1 GiB", "parallel": 3, "copy": [{"source": "A", "query": "q", "into": "t"}]},
    {
        "target": "B",
        "copy": [
            {
                "source": "A",
                "tables": "*",
                "columns": ["id", "*"],
                "rename": {"a": "b"},
                "mode": "upsert",
                "key": "id",
                "overrides": {"t": {"rename": {}, "where": "x", "mode": "replace"}},
            }
        ],
    },
    {"target": "B", "memory_limit": 268435456, "mode": "truncate", "copy": [{"source": "A", "tables": "t"}]},
]
BAD: list[Any] = [
    [],
    {},
    {"target": "B"},
    {"target": " ", "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "copy": []},
    {"target": "B", "copy": ["t"]},
    {"target": "B", "copy": [{"tables": "t"}]},
    {"target": "B", "copy": [{"source": "A"}]},
    {"target": "B", "copy": [{"source": "A", "tables": []}]},
    {"target": "B", "copy": [{"source": "A", "tables": "t", "query": "q", "into": "t"}]},
    {"target": "B", "copy": [{"source": "A", "query": "q"}]},
    {"target": "B", "copy": [{"source": "A", "query": "q", "into": "t", "where": "x"}]},
    {"target": "B", "copy": [{"source": "A", "tables": "t", "unknown": 1}]},
    {"target": "B", "unknown": 1, "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "copy": [{"source": "A", "tables": "t", "rename": {"a": 1}}]},
    {"target": "B", "copy": [{"source": "A", "tables": "t", "overrides": {}}]},
    {"target": "B", "copy": [{"source": "A", "tables": "t", "overrides": {"t": {"source": "B"}}}]},
    {"target": "B", "copy": [{"source": "A", "tables": "t", "overrides": {"t": {"mode": "overwrite"}}}]},
    {"target": "B", "copy": [{"source": "A", "query": "q", "into": "t", "overrides": {"t": {"mode": "append"}}}]},
    {"target": "B", "mode": "overwrite", "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "parallel": 0, "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "parallel": 1.5, "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "memory_limit": "much", "copy": [{"source": "A", "tables": "t"}]},
    {"target": "B", "memory_limit": "1KiBi", "copy": [{"source": "A", "tables": "t"}]},
]


@pytest.fixture
def schema(dray: Dray) -> dict[str, Any]:
    """What `dray copy --json-schema` prints."""
    done = dray("copy", "--json-schema")
    assert done.returncode == 0, done.stderr
    schema: dict[str, Any] = json.loads(done.stdout)
    return schema


def test_the_schema_marks_what_the_command_refuses(dray: Dray, schema: dict[str, Any], task: Task) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    assert [plan for plan in GOOD if not validator.is_valid(plan)] == []
    assert [plan for plan in BAD if validator.is_valid(plan)] == []
    for plan in BAD:
        path = write(task, json.dumps(plan), "plan.json")
        done = dray("copy", path, "--dry-run", cwd=task.folder)
        assert done.returncode == 110, f"{plan}\n{done.stderr}"
    for plan in GOOD:
        # It goes on to look for connections of these names.
        path = write(task, json.dumps(plan), "plan.json")
        done = dray("copy", path, "--dry-run", cwd=task.folder)
        assert done.returncode == 112, f"{plan}\n{done.stderr}"


# Options that mean nothing while they are empty.
EMPTY = ("key", "overlap", "before", "after", "before_run", "after_run")


def test_the_words_of_a_plan_are_those_of_python(schema: dict[str, Any], script: Script) -> None:
    done = script("""
        import dataclasses, inspect, json, dray
        one, many = (inspect.signature(f).parameters for f in (dray.copy_table, dray.copy_tables))
        print(json.dumps({
            "options": {name: p.default for name, p in list(many.items())[1:] if p.default is not p.empty},
            "copy": [field.name for field in dataclasses.fields(dray.Copy)],
            "start_copy": list(inspect.signature(dray.start_copy).parameters) == list(many),
            "plan_copy": list(inspect.signature(dray.plan_copy).parameters) == list(many),
        }))
    """)
    assert done.returncode == 0, done.stderr
    python = json.loads(done.stdout)
    assert python["start_copy"] and python["plan_copy"]
    options = {name: key for name, key in schema["properties"].items() if name not in ("copy", "target")}
    assert list(options) == list(python["options"])
    assert list(schema["$defs"]["copy"]["properties"]) == python["copy"]
    # Where Python leaves it to the engine (None), the schema says what that takes.
    said = {name: key["default"] for name, key in options.items() if "enum" in key or key.get("type") == "boolean"}
    empty = {name: python["options"].pop(name) for name in EMPTY}
    assert not any(empty.values())
    assert said == {name: default for name, default in python["options"].items() if default is not None}


def test_a_dry_run_says_everything_and_changes_nothing(databases: Databases, dray: Dray, task: Task) -> None:
    source, target = prepare(databases, task)
    assert isinstance(source.query("SELECT 1"), list)
    target.fill("b", {"id": "INTEGER"}, [(5,)])
    source.execute("CREATE INDEX a_id ON a (id)")
    before = {path.name for path in task.folder.iterdir()} | {"plan.toml"}
    done = dray("copy", write(task, PLAN), "--dry-run", cwd=task.folder, env=task.env)
    assert done.returncode == 0, done.stderr
    for words in (
        "3 tables into Target, 1 at once, 256 MiB of memory",
        "main.a of Source -> a (replace, is made)",
        "b of Source -> b (replace, is there)",
        "about 2",
        "direct: ",
        "CREATE TABLE",
        'CREATE INDEX "main"."a_id" ON "a" (id)',
    ):
        assert words in done.stdout, done.stdout
    assert target.tables() == {"b"}
    assert target.query("SELECT id FROM b") == [(5,)]
    assert {path.name for path in task.folder.iterdir()} == before, "no outputs.json, and nothing is left over"


def test_a_dry_run_makes_no_database(databases: Databases, dray: Dray, tmp_path: Path) -> None:
    source = databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    target = tmp_path / "new.db"
    connections = ["--source", source.odbc, "--target", f"Driver={{SQLite3}};Database={target}"]
    done = dray("copy", *connections, "--table", "t", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not target.exists() or sqlite3.connect(target).execute("SELECT * FROM sqlite_master").fetchall() == []


def test_a_dry_run_in_json_names_the_table_that_cannot_be_copied(databases: Databases, dray: Dray, task: Task) -> None:
    prepare(databases, task)
    plan = 'target = "Target"\n[[copy]]\nsource = "Source"\ntables = ["a", "missing"]\n'
    done = dray("copy", write(task, plan), "--dry-run", "--json", cwd=task.folder, env=task.env)
    assert done.returncode == 1
    assert "missing" in done.stderr.splitlines()[-1]
    good, bad = json.loads(done.stdout)["tables"]
    assert good["error"] is None
    assert good["columns"] == [{"source": "id", "source_type": "INTEGER", "target": "id", "target_type": "INTEGER"}]
    assert good["statements"][0]["when"] == "before"
    assert bad["error"]["code"] == "copy.no_such_table"


@pytest.mark.parametrize("product", PRODUCTS)
def test_rows_are_estimated_where_the_database_knows(databases: Databases, script: Script, product: str) -> None:
    source, target = databases(product), databases("sqlite")
    source.numbered("t", 1_000, "text ")
    source.execute({"sqlite": "ANALYZE", "postgresql": "ANALYZE t", "mariadb": "ANALYZE TABLE t"}[product])
    code = """
        import dray
        copies = [dray.Copy("Source", "t"), dray.Copy("Source", "t", where="id = 1", into="u")]
        plan = dray.plan_copy(copies, target="Target")
        print(*[table.estimated_rows for table in plan.tables])
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    all_rows, some_rows = done.stdout.split()
    assert 900 <= int(all_rows) <= 1_100
    assert some_rows == "None", "nobody knows how many a condition leaves out"
    assert target.tables() == set()
