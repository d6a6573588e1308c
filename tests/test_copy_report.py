"""What a copy says of itself: in the report that the script gets, in the logs, and in outputs.json."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from conftest import Script, Task
from databases import Databases

CODE = """
    import dray
    report = dray.copy_tables([dray.Copy("Source", "*")], target="Target")
    dray.outputs["seen"] = {
        "rows": report.rows,
        "bytes": report.bytes,
        "duration_ms": report.duration_ms,
        "tables": [
            {"source": t.source, "target": t.target, "rows": t.rows, "bytes": t.bytes, "duration_ms": t.duration_ms}
            for t in report.tables
        ],
    }
"""


def run(databases: Databases, script: Script, task: Task) -> tuple[dict[str, Any], str]:
    """Copy two tables; outputs.json, and what went to stderr."""
    source, target = databases("sqlite"), databases("postgresql")
    source.numbered("large", 5_000, "ä" * 100)
    source.fill("small", {"id": "INTEGER", "note": "TEXT"}, [(1, "secret cell"), (2, None), (3, "")])
    done = script(CODE, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr
    assert "secret cell" not in done.stderr
    assert (target.count("large"), target.count("small")) == (5_000, 3)
    return task.outputs(), done.stderr


def test_the_report_counts_rows_and_bytes_of_each_table(databases: Databases, script: Script, task: Task) -> None:
    outputs, _ = run(databases, script, task)
    seen = outputs["seen"]
    assert seen["rows"] == 5_003
    by_name = {table["target"].rpartition(".")[2]: table for table in seen["tables"]}
    assert {name: table["rows"] for name, table in by_name.items()} == {"large": 5_000, "small": 3}
    assert by_name["large"]["bytes"] >= 5_000 * 200, "a letter of two bytes counts as two"
    assert by_name["large"]["bytes"] < 5_000 * 400
    assert seen["bytes"] == sum(table["bytes"] for table in seen["tables"])
    assert all(0 < table["duration_ms"] <= seen["duration_ms"] + 1 for table in seen["tables"])


def test_outputs_json_holds_the_same_numbers(databases: Databases, script: Script, task: Task) -> None:
    outputs, _ = run(databases, script, task)
    copies = outputs["dray"]["copies"]
    told = [(table["source"], table["target"], table["rows"], table["bytes"]) for table in copies]
    seen = [(table["source"], table["target"], table["rows"], table["bytes"]) for table in outputs["seen"]["tables"]]
    assert sorted(told) == sorted(seen)


def test_the_log_has_one_record_a_table_with_the_same_numbers(
    databases: Databases, script: Script, task: Task, logs: Callable[[str], list[dict[str, Any]]]
) -> None:
    outputs, stderr = run(databases, script, task)
    records = [record for record in logs(stderr) if record.get("event") == "copy.table"]
    told = sorted(record.get("rows", record.get("fields", {}).get("rows")) for record in records)
    assert told == [3, 5_000]
    assert outputs["seen"]["rows"] == sum(told)
