"""The generic lanes, which every product has: long cells whole, memory within its bounds, rows one by one where a driver
knows no arrays.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from conftest import Script
from databases import PRODUCTS, Databases

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
@pytest.mark.parametrize(("source", "target"), zip(PRODUCTS, (*PRODUCTS[1:], PRODUCTS[0])))
def test_cells_that_grow_from_10_bytes_to_16_mib_arrive_whole(
    databases: Databases, script: Script, source: str, target: str, kind: str
) -> None:
    lengths = [10] * 300
    lengths += [10 * 4**power for power in range(11)] + [16 << 20, 10, 16 << 20, 100_000, 0]
    result = measured(databases, script, (source, target), kind, lengths)
    # Two of the longest cells are in one block, and each lies in a driver, an array and a batch at the same time.
    assert result["growth_kib"] < 320 * 1024


def test_a_long_cell_after_many_short_ones_takes_no_room_in_each_of_their_rows(
    databases: Databases, script: Script
) -> None:
    source, target = databases("sqlite"), databases("mariadb")
    source.fill("t", {"id": "INTEGER NOT NULL PRIMARY KEY", "value": "TEXT"}, [(row, "x") for row in range(1_900)])
    source.insert("t", [(1_900, "y" * (16 << 20))])
    code = """
        import dray, resource
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, 4 << 30))
        print(dray.copy_table("Source", "Target", "t", lanes="odbc").rows)
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.stdout == "1901\n", done.stderr[-2000:]
    assert target.query("SELECT LENGTH(value) FROM t WHERE id >= 1899 ORDER BY id") == [(1,), (16 << 20,)]


@pytest.mark.parametrize("lanes", ["auto", "odbc"])
def test_a_cell_beyond_the_memory_limit_is_named_and_never_an_abort(
    databases: Databases, script: Script, lanes: str
) -> None:
    source, target = databases("sqlite" if lanes == "auto" else "postgresql"), databases("sqlite")
    source.execute("CREATE TABLE t (id INTEGER, big TEXT)")
    source.insert("t", [(1, "x"), (2, None)])
    long = "CAST(zeroblob(200000000) AS TEXT)" if lanes == "auto" else "repeat('x', 100000000)"
    source.execute(f"INSERT INTO t VALUES (3, {long})")
    code = f"""
        import dray
        try:
            dray.copy_table("Source", "Target", "t", lanes={lanes!r})
        except dray.CopyError as error:
            failed = error.report.tables[0].error
            print(failed["code"], failed["column"], failed["row"], failed["hint"])
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("copy.over_memory_limit big 3 raise `memory_limit`")
    assert target.tables() == set()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (
            "mariadb",
            "postgresql",
            "read by odbc: block cursor of the ODBC driver, which keeps the whole result in memory",
        ),
        ("postgresql", "mariadb", "written by odbc: parameter arrays"),
        ("postgresql", "sqlite", "written by odbc: the ODBC driver, row by row"),
    ],
)
def test_the_plan_says_how_a_driver_is_used(
    databases: Databases, script: Script, source: str, target: str, said: str
) -> None:
    one, other = databases(source), databases(target)
    one.numbered("t", 3, "x")
    code = """
        import dray
        dray.copy_table("Source", "Target", "t", lanes="odbc")
    """
    done = script(code, services={"Source": one.odbc, "Target": other.odbc}, env={"DRAY_LOG_LEVEL": "debug"})
    assert done.returncode == 0, done.stderr[-2000:]
    plans = [record for record in done.stderr.splitlines() if '"copy.plan"' in record]
    assert len(plans) == 1
    assert said in plans[0]


def test_a_negative_zero_is_refused_where_the_server_would_drop_its_sign(databases: Databases, script: Script) -> None:
    source, target = databases("postgresql"), databases("mariadb")
    source.execute("CREATE TABLE t (id integer, value double precision)")
    source.execute("INSERT INTO t VALUES (1, 0), (2, '-0')")
    code = """
        import dray
        dray.copy_table("Source", "Target", "t", lanes="odbc")
    """
    done = script(code, services={"Source": source.odbc, "Target": target.odbc})
    assert done.returncode == 1, target.query("SELECT value FROM t")
    last = done.stderr.splitlines()[-1]
    assert "`value`" in last
    assert "row 2" in last
    assert "-0.0" in last
