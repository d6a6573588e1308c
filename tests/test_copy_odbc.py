"""The generic lanes, which every product has: long cells whole, memory within its bounds, rows one by one where a driver
knows no arrays.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Script
from databases import DIRECTIONS, Databases

MEASURED = """
    import dray, json

    def peak_kib():
        for line in open("/proc/self/status"):
            if line.startswith("VmHWM:"):
                return int(line.split()[1])

    dray.copy_table("Source", "Target", "small", lanes="odbc")  # the drivers and their libraries are no growth
    before = peak_kib()
    report = dray.copy_table("Source", "Target", "t", lanes="odbc")
    lanes = [report.read_lane, report.write_lane]
    print(json.dumps({"rows": report.rows, "lanes": lanes, "growth_kib": peak_kib() - before}))
"""

TYPES = {
    "text": {"sqlite": "TEXT", "postgresql": "text", "mariadb": "LONGTEXT"},
    "bytes": {"sqlite": "BLOB", "postgresql": "bytea", "mariadb": "LONGBLOB"},
}


def measured(databases: Databases, script: Script, ways: tuple[str, str], kind: str, lengths: list[int]) -> Any:
    """Copy cells of these lengths by the generic lanes; every one has to arrive as it is."""
    source, target = databases(ways[0]), databases(ways[1])
    source.numbered("small", 10, "x")
    columns = {"id": "INTEGER NOT NULL PRIMARY KEY", "value": TYPES[kind][ways[0]], "after": "BIGINT"}
    source.execute(f"CREATE TABLE t ({source.columns(columns)})")
    for number, length in enumerate(lengths):
        value: Any = ("ä" if number % 2 else "b") * (length // (1 + number % 2))
        value = value if kind == "text" else bytes([number % 256]) * length
        source.insert("t", [(number, value, number * 7)])
    done = script(MEASURED, services={"Source": source.odbc, "Target": target.odbc}, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout)
    assert result["lanes"] == ["odbc", "odbc"]
    everything = "SELECT id, value, after FROM t ORDER BY id"
    for left, right in zip(source.query(everything), target.query(everything)):
        assert left[0] == right[0]
        assert left == right, f"row {left[0]} differs"
    assert target.count("t") == len(lengths)
    return result


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(("source", "target"), DIRECTIONS)
def test_cells_that_grow_from_10_bytes_to_16_mib_arrive_whole(
    databases: Databases, script: Script, source: str, target: str, kind: str
) -> None:
    lengths = [10] * 300
    lengths += [10 * 4**power for power in range(11)] + [16 << 20, 10, 16 << 20, 100_000, 0]
    result = measured(databases, script, (source, target), kind, lengths)
    print(source, target, kind, result["growth_kib"] // 1024)
