"""A plan that is split over several runs which know nothing of each other, their outputs as one; and a thousand tables."""

from __future__ import annotations

import hashlib
import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, Dray, Script, Task
from copying import Copying
from databases import Database, Databases, Postgresql, connect_postgresql

SHARDS = 8
TABLES = {product: [f"{product[:2]}_{number:02}" for number in range(16)] for product in ("postgresql", "mariadb")}
TABLES["sqlite"] = [f"sq_{number:02}" for number in range(8)]
"""Forty tables; those of each product have names of their own."""

ROWS = 40


@dataclass
class Split:
    """A plan that copies forty tables of three sources into one target, in shards."""

    folder: Path
    target: Postgresql
    sources: dict[str, Database]
    start: Callable[..., subprocess.Popen[str]]
    env: dict[str, str]
    run_id: str = "one"
    processes: dict[int, subprocess.Popen[str]] = field(default_factory=dict)

    def begin(self, number: int, count: int = SHARDS) -> subprocess.Popen[str]:
        """Start one shard, in a folder of its own as on a node of its own."""
        folder = self.folder / f"{number}of{count}"
        folder.mkdir(exist_ok=True)
        process = self.start("copy", self.folder / "plan.toml", "--shard", f"{number}/{count}",
                             "--run-id", self.run_id, "--json", cwd=folder, env=self.env)  # fmt: skip
        self.processes[number] = process
        return process

    def end(self, number: int, count: int = SHARDS) -> dict[str, dict[str, Any]]:
        """Wait for a shard; the reports of its tables, which it gives as its outputs too."""
        stdout, stderr = self.processes[number].communicate(timeout=120)
        assert self.processes[number].returncode == 0, stderr
        reports = json.loads(stdout)["tables"]
        outputs = json.loads((self.folder / f"{number}of{count}" / "outputs.json").read_text("utf-8"))
        assert (outputs["tables"], outputs["rows"]) == (len(reports), sum(table["rows"] for table in reports))
        return {table["target"]: table for table in reports}

    def run(self, count: int = SHARDS) -> list[dict[str, dict[str, Any]]]:
        """All shards at once."""
        for number in range(1, count + 1):
            self.begin(number, count)
        return [self.end(number, count) for number in range(1, count + 1)]

    def check(self) -> None:
        """Every table has the rows of its source, once."""
        assert self.target.tables() == set(ALL)
        for product, tables in TABLES.items():
            for table in tables:
                rows = self.target.query(f"SELECT id, square, note FROM {table} ORDER BY id")
                assert rows == self.sources[product].query(f"SELECT id, square, note FROM {table} ORDER BY id"), table
                assert len(rows) == ROWS, table


ALL = sorted(table for tables in TABLES.values() for table in tables)

PLAN = """
target = "Target"
mode = "append"
parallel = 2

[[copy]]
source = "postgresql"
tables = "*"

[[copy]]
source = "mariadb"
tables = "*"

[[copy]]
source = "sqlite"
tables = "*"
"""


@pytest.fixture(scope="module")
def sources(module_databases: Databases) -> dict[str, Database]:
    """The forty tables."""
    made = {product: module_databases(product) for product in TABLES}
    for product, tables in TABLES.items():
        for table in tables:
            made[product].numbered(table, ROWS, f"{table} ")
    return made


@pytest.fixture
def split(
    databases: Databases, sources: dict[str, Database], start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> Split:
    """The plan, and a fresh target."""
    folder = tmp_path / "shards"
    folder.mkdir()
    (folder / "plan.toml").write_text(PLAN, "utf-8")
    target = databases("postgresql")
    assert isinstance(target, Postgresql)
    connections = {**{name: source.odbc for name, source in sources.items()}, "Target": target.odbc}
    env = {f"DRAY_CONNECTION_{name.upper()}": odbc for name, odbc in connections.items()}
    return Split(folder, target, sources, start, env)


def test_eight_shards_at_once_copy_each_table_once_and_their_outputs_become_one(split: Split, dray: Dray) -> None:
    copied = split.run()
    assert sorted(table for shard in copied for table in shard) == ALL
    assert all(len(shard) < len(ALL) / 2 for shard in copied), "one shard has most tables"
    split.check()
    journal = split.target.query("SELECT target_table, shard FROM dray_journal")
    by_shard = {(f"public.{table}", f"{number}/{SHARDS}") for number, shard in enumerate(copied, 1) for table in shard}
    assert set(journal) == by_shard
    assert len(journal) == len(ALL)
    merged = dray("outputs", "merge", split.folder, "-o", split.folder / "outputs.json")
    assert merged.returncode == 0, merged.stderr
    outputs = json.loads((split.folder / "outputs.json").read_text("utf-8"))
    assert (outputs["tables"], outputs["rows"], outputs["failed_tables"]) == (len(ALL), len(ALL) * ROWS, [])
    whole = outputs["dray"]
    assert (whole["status"], whole["parts"], whole["entrypoint"]) == ("succeeded", SHARDS, "dray copy")
    assert sorted(table["target"] for table in whole["copies"]) == ALL
    assert whole["copied"] == {
        "tables": len(ALL), "failed_tables": [], "rows": outputs["rows"], "bytes": outputs["bytes"], "rejected": 0, "retries": 0,
    }  # fmt: skip
    # What is there from an earlier merge is no part.
    again = dray("outputs", "merge", split.folder, "-o", split.folder / "outputs.json")
    assert (again.returncode, json.loads((split.folder / "outputs.json").read_text("utf-8"))) == (0, outputs)


def test_a_shard_that_was_killed_and_is_run_again_finishes_its_own_alone(split: Split) -> None:
    whole = split.run(2)
    own = set(whole[0])
    kept = sorted(own)[: len(own) // 2]
    # As if its first half alone had been copied.
    for table in own - set(kept):
        split.target.execute(f"DROP TABLE {table}")
        split.target.execute("DELETE FROM dray_journal WHERE target_table = %s", f"public.{table}")
    split.begin(1, 2)
    again = split.end(1, 2)
    assert set(again) == own
    assert {table for table, report in again.items() if report["skipped"]} == set(kept)
    split.check()


def test_a_shard_that_is_killed_at_work_is_finished_by_its_second_run(split: Split) -> None:
    with connect_postgresql(split.sources["postgresql"].name) as gate, gate.transaction():  # type: ignore[attr-defined]
        # Nobody can read them until the block ends.
        gate.execute(f"LOCK TABLE {', '.join(TABLES['postgresql'])} IN ACCESS EXCLUSIVE MODE")
        process = split.begin(1)
        deadline = time.monotonic() + 60
        while not split.sources["postgresql"].query(BLOCKED)[0][0]:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate()
    copied = split.run()
    assert sorted(table for shard in copied for table in shard) == ALL
    split.check()


BLOCKED = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


def test_a_run_that_goes_on_with_another_number_of_shards_skips_what_is_finished(split: Split) -> None:
    split.begin(1)
    first = split.end(1)
    copied = [table for shard in split.run(3) for table in shard.values()]
    assert {table["target"] for table in copied if table["skipped"]} == set(first)
    split.check()


def test_a_table_that_comes_meanwhile_changes_nothing_about_the_others(
    split: Split, dray: Dray, tmp_path: Path
) -> None:
    def shard_of(target: Database, connection: str) -> dict[str, int]:
        found = {}
        for number in range(1, 4):
            env = {**split.env, "DRAY_CONNECTION_SQLITE": connection, "DRAY_CONNECTION_TARGET": target.odbc}
            done = dray("copy", plan, "--shard", f"{number}/3", "--dry-run", "--json", cwd=split.folder, env=env)
            assert done.returncode == 0, done.stderr
            found.update({table["target"]: number for table in json.loads(done.stdout)["tables"]})
        return found

    plan = tmp_path / "sqlite.toml"
    plan.write_text('target = "Target"\n[[copy]]\nsource = "sqlite"\ntables = "*"\n', "utf-8")
    source = split.sources["sqlite"]
    before = shard_of(split.target, source.odbc)
    assert set(before) == set(TABLES["sqlite"])
    source.execute("CREATE TABLE a_new_one (id INTEGER)")
    try:
        # The same in a driver string that is spelled otherwise, as on another node.
        after = shard_of(split.target, source.odbc + ";Timeout=7")
    finally:
        source.execute("DROP TABLE a_new_one")
    assert after.pop("a_new_one") in (1, 2, 3)
    assert after == before


def test_a_shard_without_tables_has_nothing_to_do_and_is_no_failure(
    databases: Databases, dray: Dray, task: Task
) -> None:
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("t", {"id": "INTEGER"}, [(1,)])
    task.write_activity({"shard": "1/2"}, linked_services={"Source": source.odbc, "Target": target.odbc})
    (task.folder / "plan.toml").write_text('target = "Target"\n[[copy]]\nsource = "Source"\ntables = "*"\n', "utf-8")
    tables = {}
    # The first is the property's of the activity, which is what the items of a ForEach differ in; a flag wins over it.
    for number, flags in {1: [], 2: ["--shard=2/2"]}.items():
        done = dray("copy", "plan.toml", *flags, cwd=task.folder, env=task.env)
        assert done.returncode == 0, done.stderr
        tables[number] = task.outputs()["tables"]
    assert sorted(tables.values()) == [0, 1]
    assert target.query("SELECT id FROM t") == [(1,)]


def test_what_reads_in_the_target_what_another_shard_may_write_is_refused(databases: Databases, script: Script) -> None:
    source, target = databases("sqlite"), databases("postgresql")
    source.fill("first", {"id": "INTEGER"}, [(1,)])
    code = """
        import dray
        copies = [dray.Copy("Source", "first"), dray.Copy("Target", {what}, into="second")]
        dray.copy_tables(copies, target="Target", shard="1/2")
    """
    for what in ("'first'", "query='SELECT id FROM first'"):
        done = script(code.format(what=what), services={"Source": source.odbc, "Target": target.odbc})
        assert done.returncode == 1, done.stderr
        assert "`second` reads in the target what is written to `first`" in done.stderr.splitlines()[-1]
    assert target.tables() == set()


def test_outputs_that_do_not_go_together_are_named(dray: Dray, tmp_path: Path) -> None:
    for name, date in {"a": "2026-11-21", "b": "2026-11-22"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "outputs.json").write_text(json.dumps({"date": date}), "utf-8")
    done = dray("outputs", "merge", "a/outputs.json", "b", cwd=tmp_path)
    assert done.returncode == 115
    expected = "error: `date` is a text in `a/outputs.json` and a text in `b/outputs.json`"
    assert done.stderr.splitlines()[-1].startswith(expected), done.stderr
    assert "2026" not in done.stderr
    for wrong, exit_code in {"c": 110, ".": 115}.items():
        assert dray("outputs", "merge", wrong, cwd=tmp_path).returncode == exit_code


def test_the_outputs_of_a_foreach_are_merged_from_a_variable_of_the_pipeline(dray: Dray, task: Task) -> None:
    shards = [{"rows": 5, "year": 2026}, {"rows": 5, "year": 2026, "dray": {"status": "succeeded", "exit_code": 0}}]
    for value in (shards, json.dumps(shards)):
        task.write_activity({"outputs": value})
        done = dray("outputs", "merge", "--property=outputs", "--same=year", "-o", "outputs.json",
                    cwd=task.folder, env=task.env)  # fmt: skip
        assert done.returncode == 0, done.stderr
        told = task.outputs()
        assert (told["rows"], told["year"], told["dray"]["parts"]) == (10, 2026, 1)
    task.write_activity({"outputs": "[1]"})
    done = dray("outputs", "merge", "--property=outputs", cwd=task.folder, env=task.env)
    assert done.returncode == 110
    assert "`outputs` is a list with a number in it" in done.stderr


def test_the_pipeline_of_the_documentation_copies_a_shard_and_merges_the_outputs(
    databases: Databases, dray: Dray, tmp_path: Path
) -> None:
    page = (ROOT / "src" / "copy" / "SCALE.md").read_text("utf-8")
    pipeline = page.partition("```json\n")[2].partition("```\n")[0]
    source, target = databases("sqlite"), databases("sqlite")
    source.fill("orders", {"id": "INTEGER"}, [(1,), (2,)])
    factory = {
        "pipeline/CopyWarehouse.json": pipeline,
        "upload/plan.toml": 'target = "Warehouse"\n[[copy]]\nsource = "SalesDb"\ntables = "*"\n',
        "linkedService/Storage1.json": service("Storage1", "AzureBlobStorage", "AccountName=a;AccountKey=b"),
        "linkedService/SalesDb.json": service("SalesDb", "Odbc", source.odbc),
        "linkedService/Warehouse.json": service("Warehouse", "Odbc", target.odbc),
    }
    for name, content in factory.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content, "utf-8")

    def rehearse(activity: str, number: int, *given: str) -> Any:
        work = tmp_path / f"{activity}{number}"
        done = dray("rehearse", tmp_path / "pipeline" / "CopyWarehouse.json", activity, *given,
                    "--folder", tmp_path / "upload", "--workdir", work)  # fmt: skip
        assert done.returncode == 0, done.stderr
        return json.loads((work / "wd" / "outputs.json").read_text("utf-8"))

    own = 1 + int.from_bytes(hashlib.sha256(b"\0orders").digest()[:8], "big") % 200
    outputs = [rehearse("CopyShard", number, "--set", f"item()={number}") for number in (own, own % 200 + 1)]
    assert [told["rows"] for told in outputs] == [2, 0]
    assert target.query("SELECT id FROM orders ORDER BY id") == [(1,), (2,)]
    merged = rehearse("MergeOutputs", 0, "--set", f"variables('outputs')={json.dumps(outputs)}")
    assert (merged["tables"], merged["rows"], merged["failed_tables"]) == (1, 2, [])


def service(name: str, kind: str, string: str) -> str:
    """A linked service as a factory's repository has it."""
    return json.dumps({"name": name, "properties": {"type": kind, "typeProperties": {"connectionString": string}}})


THOUSAND = """
    import dray
    report = dray.copy_tables([dray.Copy("Source", "*")], target="Target", parallel=4)
    print(len(report.tables), report.rows)
"""


@pytest.mark.timeout(240)
@pytest.mark.parametrize("product", ["postgresql", "sqlite"])
def test_a_thousand_tables_of_ten_rows_are_one_call_on_a_few_connections(
    databases: Databases, script: Script, product: str
) -> None:
    source, target = databases(product), databases("postgresql")
    names = [f"t{number:03}" for number in range(1_000)]
    filled = " ".join(
        f"CREATE TABLE {name} (id INTEGER, note VARCHAR(40)); "
        f"INSERT INTO {name} VALUES {', '.join(f'({row}, {chr(39)}{name} {row}{chr(39)})' for row in range(10))};"
        for name in names
    )
    if product == "sqlite":
        source._connection.executescript(f"BEGIN; {filled} COMMIT;")  # type: ignore[attr-defined]
    else:
        source.execute(filled)
    done = script(THOUSAND, services={"Source": source.odbc, "Target": target.odbc}, timeout=200)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1000 10000\n"
    assert target.tables() == set(names)
    for name in names:
        rows = target.query(f"SELECT id, note FROM {name} ORDER BY id")
        assert rows == [(row, f"{name} {row}") for row in range(10)], name
    # Of the lanes and of ODBC, of each worker and of the call itself; the counters of the server follow with a delay.
    sessions = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
    last, same = -1, 0
    while same < 4:
        now = int(target.query(sessions)[0][0])
        last, same = now, same + 1 if now == last else 0
        time.sleep(0.5)
    assert last <= 16, f"{last} sessions for 4 tables at once"


def own_shard(table: str, count: int) -> int:
    """The shard that a table is in."""
    return 1 + int.from_bytes(hashlib.sha256(b"\0" + table.encode()).digest()[:8], "big") % count


@pytest.mark.parametrize("mode", ["replace", "truncate"])
@pytest.mark.parametrize("product", ["postgresql", "mariadb"])
def test_tables_that_refer_to_each_other_across_shards_are_replaced_every_night(
    databases: Databases, copying: Copying, product: str, mode: str
) -> None:
    source, target = databases(product), databases(product)
    names = [f"t{number}" for number in range(20)]
    parent, near = [name for name in names if own_shard(name, 2) == 1][:2]
    far = next(name for name in names if own_shard(name, 2) == 2)
    source.fill(parent, {"id": "INTEGER NOT NULL PRIMARY KEY"}, [(1,), (2,)])
    for child in (near, far):
        key = f"CONSTRAINT {child}_parent FOREIGN KEY (parent) REFERENCES {parent} (id)"
        source.execute(f"CREATE TABLE {child} (id INTEGER NOT NULL PRIMARY KEY, parent INTEGER, {key})")
        source.insert(child, [(1, 1), (2, 2)])
    for night in range(2):
        tables: dict[str, Any] = {}
        for shard in ("1/2", "2/2"):
            tables.update(copying(source, target, "*", mode=mode, shard=shard).tables)
        assert {name: table["error"] for name, table in tables.items()} == dict.fromkeys((parent, near, far)), night
        for name in (parent, near, far):
            assert target.query(f"SELECT * FROM {name} ORDER BY id") == source.query(
                f"SELECT * FROM {name} ORDER BY id"
            )
        if night == 0 or mode == "replace":
            assert tables[near]["not_carried"] == []
            (lacking,) = tables[far]["not_carried"]
            assert lacking.startswith(f"foreign key `{far}_parent`: `{parent}` is copied by another shard"), lacking
            assert "after_run" in lacking, lacking
    keys = "SELECT constraint_name FROM information_schema.table_constraints WHERE constraint_type = 'FOREIGN KEY'"
    schema = "current_schema()" if product == "postgresql" else "DATABASE()"
    assert target.query(f"{keys} AND table_schema = {schema}") == [(f"{near}_parent",)]
