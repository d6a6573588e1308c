"""What `make bench` concludes from its measurements, and how it finds a wrong copy; the peers are not needed for it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "benches" / "copy"))

import datasets  # noqa: E402
import loading  # noqa: E402
import measure  # noqa: E402
import sqlserver  # noqa: E402
import summary  # noqa: E402
import table  # noqa: E402
import verify  # noqa: E402
from databases import microsoft_driver  # noqa: E402
from datasets import Column, Dataset, MadeColumn  # noqa: E402

import database  # noqa: E402

# Three rounds on a machine that gets slower; the ratio of the medians, 15 / 11, is not the median of the ratios.
FLOOR_SECONDS = [10.0, 11.0, 40.0]
DRAY_SECONDS = [11.0, 15.0, 42.0]


def run_of(peer: str, number: int, wall_s: float, status: str = summary.OK, **more: Any) -> dict[str, Any]:
    fields = {"dataset": "lineitem-10", "route": "pg_pg", "round": number, "peer": peer, "status": status, "reason": ""}
    return {**fields, "wall_s": wall_s, "cpu_s": wall_s / 2, "peak_rss_bytes": number * 1000, **more}


def rounds() -> list[dict[str, Any]]:
    runs = []
    for number, (floor, dray) in enumerate(zip(FLOOR_SECONDS, DRAY_SECONDS), 1):
        runs += [run_of("floor", number, floor), run_of("dray", number, dray)]
    return runs


def line_of(peer: str, runs: list[dict[str, Any]]) -> summary.Line:
    return next(line for line in summary.lines(runs, "lineitem-10", "pg_pg") if line.peer == peer)


def test_a_ratio_is_taken_within_its_round():
    line = line_of("dray", rounds())
    assert line.wall_ratio == summary.Spread(pytest.approx(1.1), pytest.approx(1.05), pytest.approx(15 / 11))
    assert line.wall_s == summary.Spread(15.0, 11.0, 42.0)
    assert line.runs == 3 and line.peak_rss_bytes == 3000


def test_a_round_without_its_floor_gives_a_time_but_no_ratio():
    runs = [run for run in rounds() if (run["peer"], run["round"]) != ("floor", 3)]
    line = line_of("dray", runs)
    assert line.runs == 3
    assert line.wall_ratio is not None and line.wall_ratio.high == pytest.approx(15 / 11)


def test_one_wrong_result_takes_the_times_of_a_peer_away():
    runs = rounds()
    runs[-1].update(status=summary.WRONG, reason="values differ in lineitem_10")
    line = line_of("dray", runs)
    assert (line.status, line.reason, line.wall_s) == (summary.WRONG, "values differ in lineitem_10", None)
    assert table.cell(line) == "**!**"


def test_the_fastest_comes_first_and_what_has_no_time_last():
    runs = [*rounds(), run_of("quick", 1, 0.5), run_of("broken", 1, 0.1, summary.FAILED)]
    assert [line.peer for line in summary.lines(runs, "lineitem-10", "pg_pg")] == ["quick", "floor", "dray", "broken"]


def test_runs_for_the_memory_alone_are_no_part_of_the_times():
    runs = [*rounds(), run_of("dray", 1, 99.0, memory=True)]
    assert line_of("dray", runs).runs == 3
    result = {"runs": runs, "datasets": {"lineitem-10": {"rows": 10}}}
    assert summary.memory(result) == {"pg_pg": [(10, 3000)]}


def test_without_a_floor_ratios_are_to_dray():
    runs = [{**run, "route": "pg_ms"} for run in rounds() if run["peer"] == "dray"]
    runs += [{**run, "peer": "slow", "wall_s": run["wall_s"] * 2} for run in runs]
    dray, slow = summary.lines(runs, "lineitem-10", "pg_ms")
    assert slow.wall_ratio == summary.Spread(2.0, 2.0, 2.0)
    assert [table.cell(line) for line in (dray, slow)] == ["15.0", "30.0 (2.00 ×)"]
    assert "× dray" in table.details([dray, slow])


def test_the_table_says_what_is_different_with_sql_server_and_nothing_without():
    runs = rounds()
    result = {"runs": runs, "versions": {"databases": {"SQL Server": "Microsoft SQL Server 2022"}}}
    assert table.sqlserver(result) == ""
    runs.append(run_of("dray", 1, 2.0, route="ms_pg"))
    assert "Microsoft SQL Server 2022" in table.sqlserver(result)


@pytest.mark.parametrize("given", ["", "Server=db;Database=d;UID=u;PWD=p;"])
def test_routes_from_and_to_sql_server_are_there_only_if_one_is_given(given: str):
    code = "import peers; print(*peers.ROUTES); print(*peers.PEERS)"
    environment = {**os.environ, "DRAY_TEST_MSSQL": given, "PYTHONPATH": str(ROOT / "benches" / "copy")}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    routes, peers = (line.split() for line in told.stdout.splitlines())
    assert routes == ["pg_pg", "sqlite_pg", "pg_my", "my_pg", *(["ms_pg", "pg_ms"] if given else [])]
    for peer in ("dray-odbc", "freebcp", "mssql-python", "mssql-bulkcopy"):
        assert (peer in peers) == bool(given)
    assert "floor" in peers and "pyodbc" in peers


def test_a_connection_string_says_who_and_where_and_keeps_the_rest():
    given = "Server=db.example,14330;Database=d;UID=u;PWD=p=1;Encrypt=no;"
    made = sqlserver.from_connection_string(given, "src", Path("/driver.so"), Path("/python"))
    assert (made.host, made.port, made.name, made.user, made.password) == ("db.example", 14330, "d", "u", "p=1")
    assert made.odbc() == "Driver={/driver.so};Server=db.example,14330;Database=d;UID=u;PWD=p=1;Encrypt=no;"
    assert sqlserver.from_connection_string("Server=db;Database=d;UID=u;PWD=p", "src", Path(), Path()).port == 1433


@pytest.mark.parametrize(("ratio", "rounds"), [(1.0, 5), (2.0, 5), (2.1, 2), (5.0, 2), (5.1, 1)])
def test_the_nearer_to_the_floor_the_more_rounds(ratio: float, rounds: int):
    assert summary.rounds_of(ratio, 5) == rounds


@pytest.mark.parametrize(
    ("source", "made", "right"),
    [
        ("integer", ("bigint", None, 64, 0), True),
        ("bigint", ("integer", None, 32, 0), False),
        ("numeric(15,2)", ("numeric", None, None, None), True),
        ("numeric(15,2)", ("decimal", None, 10, 0), False),
        ("numeric(15,2)", ("numeric", None, 38, 9), True),
        ("numeric(15,2)", ("double precision", None, 53, None), False),
        ("numeric(15,2)", ("text", None, None, None), False),
        ("varchar(10)", ("text", None, None, None), True),
        ("varchar(10)", ("character varying", 5, None, None), False),
        ("text", ("longtext", 2**32 - 1, None, None), True),
        ("text", ("varchar", 255, None, None), False),
        ("varchar(10)", ("nvarchar", 20, None, None), True),
        ("varchar(10)", ("nvarchar", 5, None, None), False),
        ("text", ("nvarchar", None, None, None), True),
        ("timestamp", ("datetime2", None, None, None), True),
        ("date", ("timestamp without time zone", None, None, None), False),
        ("double precision", ("real", None, 24, None), False),
    ],
)
def test_a_type_that_cannot_hold_the_source_s_values_is_wrong(
    source: str, made: tuple[str, Any, Any, Any], right: bool
):
    assert (datasets.type_fault(Column("c", source), MadeColumn("c", *made)) is None) == right


def test_a_pipe_is_measured_with_all_its_parts(tmp_path: Path):
    work = "import sys, time\nsys.stdin.read()\nwhile time.process_time() < 0.4: pass"
    memory = "import sys\nsys.stdin.read()\nb = bytearray(100 * 2**20)\nb[::4096] = b[::4096]"
    commands = [["echo", "x"], [sys.executable, "-c", work], [sys.executable, "-c", memory]]
    usage = measure.run(commands, tmp_path, os.environ, tmp_path / "log", 60)
    assert not usage.failure and not usage.stopped
    assert 0.4 <= usage.cpu_s < 10 and usage.wall_s >= 0.4
    assert 100 * 2**20 <= usage.peak_rss_bytes < 200 * 2**20


def test_the_memory_of_whoever_measures_is_not_counted(tmp_path: Path):
    ballast = bytearray(200 * 2**20)
    ballast[::4096] = ballast[::4096]
    usage = measure.run([["true"]], tmp_path, os.environ, tmp_path / "log", 60)
    assert 0 < usage.peak_rss_bytes < 50 * 2**20


def test_a_part_that_fails_is_told_with_its_exit_code(tmp_path: Path):
    commands = [["sh", "-c", "echo said >&2; exit 3"], ["cat"]]
    usage = measure.run(commands, tmp_path, os.environ, tmp_path / "log", 60)
    assert usage.failure == "exit code 3, 0"
    assert (tmp_path / "log").read_text() == "said\n"


def test_a_run_over_its_limit_is_stopped_with_its_children(tmp_path: Path):
    started = time.monotonic()
    usage = measure.run([["sh", "-c", "sleep 60; true"], ["cat"]], tmp_path, os.environ, tmp_path / "log", 0.5)
    assert usage.stopped and time.monotonic() - started < 20


# Each worker of a parallel run has its own.
TABLE = f"bench_values_{os.getpid()}"
SMALL = Dataset(
    "bench",
    (TABLE,),
    datasets.columns_of("id bigint, price numeric(15,2), day date, name varchar(20)"),
    3,
    "price",
)
ROWS = "(1, 1.10, '2024-02-29', 'naïve 🔑'), (2, -0.05, '0999-01-01', ''), (3, 9999999999999.99, '1970-01-01', NULL)"


def server(product: str, variable: str) -> database.Database:
    prefix = f"DRAY_TEST_{variable}_"
    if prefix + "HOST" not in os.environ:
        pytest.skip("needs the servers of tests/servers.py")
    facts = {name: os.environ[prefix + name.upper()] for name in ("database", "host", "user", "password")}
    port = int(os.environ[prefix + "PORT"])
    return database.Database(product, facts["database"], facts["host"], port, facts["user"], facts["password"])


@pytest.fixture
def filled() -> Any:
    """The same rows in PostgreSQL and in MariaDB."""
    ends = [server("pg", "POSTGRESQL"), server("my", "MARIADB")]
    for end in ends:
        ddl = SMALL.ddl(TABLE, end.product).replace("varchar(20) not null", "varchar(20)")
        end.query(f"drop table if exists {TABLE}; {ddl}; insert into {TABLE} values {ROWS}")
    yield ends
    for end in ends:
        end.query(f"drop table if exists {TABLE}")


def test_the_same_rows_have_the_same_checksum_in_both_products(filled: list[database.Database]):
    postgresql, mariadb = filled
    expected = verify.read(postgresql, SMALL, "public", checksum=True)
    assert expected[TABLE].rows == 3 and expected[TABLE].total == "10000000000001.04"
    assert verify.check(mariadb, SMALL, mariadb.schema(), expected, full=True).faults == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ("update TABLE set name = 'naive 🔑' where id = 1", "values differ"),
        ("update TABLE set name = NULL where id = 2", "values differ"),
        ("update TABLE set price = 1.11 where id = 1", "sum"),
        ("delete from TABLE where id = 3", "2 rows of 3"),
        ("alter table TABLE rename column name to title", "name is missing"),
    ],
)
def test_a_copy_that_differs_is_found(filled: list[database.Database], change: str, fault: str):
    postgresql, mariadb = filled
    expected = verify.read(postgresql, SMALL, "public", checksum=True)
    mariadb.query(change.replace("TABLE", TABLE))
    assert fault in str(verify.check(mariadb, SMALL, mariadb.schema(), expected, full=True))


def test_right_values_in_a_column_of_a_wrong_type_are_found(filled: list[database.Database]):
    postgresql, _ = filled
    expected = verify.read(postgresql, SMALL, "public", checksum=True)
    postgresql.query(f"alter table {TABLE} alter column price type text")
    verdict = verify.check(postgresql, SMALL, "public", expected, full=True)
    assert verdict.faults == ["price: numeric(15,2) became text"]


def test_a_table_in_sql_server_is_read_like_its_source(tmp_path: Path):
    given = os.environ.get("DRAY_TEST_MSSQL")
    if not given:
        pytest.skip("DRAY_TEST_MSSQL is not set: an ODBC connection string of a database that tests may empty")
    driver, python = microsoft_driver(), Path(sys.executable)
    ends = [server("pg", "POSTGRESQL"), sqlserver.from_connection_string(given, "dbo", driver, python)]
    postgresql, other = ends
    rows = tmp_path / "rows.csv"
    rows.write_text("1,1.10,2024-02-29,it's\n2,-0.05,0999-01-01,a\n3,9999999999999.99,1970-01-01,~\n", "utf-8")
    try:
        loading.fill_postgresql(postgresql, SMALL, rows)
        loading.fill_sqlserver(other, SMALL, rows)
        expected = verify.read(postgresql, SMALL, "public", checksum=True)
        assert verify.check(other, SMALL, "dbo", expected, full=True).faults == []
        other.query(f"update {TABLE} set name = 'It''s' where id = 1")
        assert "values differ" in str(verify.check(other, SMALL, "dbo", expected, full=True))
        other.query(f"alter table {TABLE} alter column name nvarchar(10)")
        assert "narrower nvarchar(10)" in str(verify.check(other, SMALL, "dbo", expected, full=True))
        with pytest.raises(database.QueryFailed, match=r"SQL Server: ERROR: .*nowhere"):
            other.query("select * from nowhere")
    finally:
        for end in ends:
            end.query(f"drop table if exists {TABLE}")
