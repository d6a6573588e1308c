"""The tools that are measured: on which routes and tables each runs, and the command lines that do it.

A tool that is a library has a script in `peer_scripts/`. To add one: an entry in `PEERS`, and its packages in
`requirements/`. Knows nothing of measuring.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

import floor
import sqlserver
from datasets import Dataset

from database import Database

HERE = Path(__file__).resolve().parent
# Between the bench's private servers; and those that there are beside them, for lineitem, if a SQL Server is given.
PRIVATE_ROUTES = ("pg_pg", "sqlite_pg", "pg_my", "my_pg")
SQLSERVER_ROUTES = ("ms_pg", "pg_ms")
ALL_ROUTES = (*PRIVATE_ROUTES, *SQLSERVER_ROUTES)
ROUTES = ALL_ROUTES if sqlserver.GIVEN else PRIVATE_ROUTES
TO_POSTGRESQL = ("pg_pg", "sqlite_pg", "my_pg")

# Nothing that is measured shall call home, nor look for updates.
QUIET = {
    "DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "INGESTR_DISABLE_TELEMETRY": "true",
    "RUNTIME__DLTHUB_TELEMETRY": "false",
    "SLING_DISABLE_TELEMETRY": "true",
}


@dataclass(frozen=True)
class Job:
    """One copy to be made; `folder` is an empty one for it. `installed` is where the bench installs its peers."""

    route: str
    dataset: Dataset
    source: Database
    destination: Database
    folder: Path
    installed: Path

    def table_pattern(self) -> str:
        """The table, or a pattern with `*` for all of them."""
        tables = self.dataset.tables
        return tables[0] if len(tables) == 1 else tables[0].partition("_")[0] + "_*"


Commands = list[list[str]]


@dataclass(frozen=True)
class Peer:
    """One tool.

    `commands` gives the parts of the pipe for a job. `environment` adds variables. `requirements` is the virtual
    environment of that name. `creates`: whether it makes the destination's tables itself; else they are made before.
    `slow_on`: routes on which it takes more than five times the floor (dray, where there is none), and so runs after
    everything else, once. `datasets`: those that it is tried with. `schema` is where its tables arrive if
    not in the destination's own.
    """

    name: str
    commands: Callable[[Job], Commands]
    routes: tuple[str, ...] = PRIVATE_ROUTES
    datasets: tuple[str, ...] = ("lineitem",)
    requirements: Optional[str] = None
    creates: Callable[[Job], bool] = lambda job: True
    environment: Callable[[Job], dict[str, str]] = lambda job: {}
    slow_on: tuple[str, ...] = ()
    quick: bool = False
    full_only: bool = False
    schema: Optional[str] = None


def script(name: str, requirements: str) -> Callable[[Job], Commands]:
    """The command of a script in `peer_scripts/`."""

    def commands(job: Job) -> Commands:
        facts: dict[str, Any] = {
            "route": job.route,
            "tables": job.dataset.tables,
            "columns": [{"name": column.name, "type": column.type} for column in job.dataset.columns],
            "source": job.source.facts(),
            "destination": job.destination.facts(),
            "creates": PEERS[name].creates(job),
            "ddl": [job.dataset.ddl(table, job.destination.product) for table in job.dataset.tables],
        }
        (job.folder / "job.json").write_text(json.dumps(facts), "utf-8")
        python = job.installed / f"venv-{requirements}" / "bin" / "python"
        return [[str(python), str(HERE / "peer_scripts" / f"by_{name.replace('-', '_')}.py"), "job.json"]]

    return commands


def floor_commands(job: Job) -> Commands:
    """See `floor.py`."""
    return floor.commands(job.route, job.dataset, job.source, job.destination)


def dray_with(**options: object) -> Callable[[Job], Commands]:
    """dray with options of a copy that are not the default."""
    return lambda job: dray(job, *(f"{name}={value}" for name, value in options.items()))


def dray(job: Job, *options: str) -> Commands:
    """`dray run` in a folder like that of a Batch task: a zip, and the files that ADF writes beside it."""
    with zipfile.ZipFile(job.folder / "project.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(HERE / "dray_project" / "main.py", "main.py")
    services = [
        {
            "name": name,
            "properties": {
                "type": "Odbc",
                "typeProperties": {"connectionString": database.odbc(), "authenticationType": "Anonymous"},
            },
        }
        for name, database in (("Source", job.source), ("Destination", job.destination))
    ]
    activity = {
        "name": "Copy",
        "type": "Custom",
        "typeProperties": {
            "command": "./dray run project.zip main.py",
            "referenceObjects": {
                "linkedServices": [
                    {"referenceName": service["name"], "type": "LinkedServiceReference"} for service in services
                ],
                "datasets": [],
            },
        },
    }
    documents: dict[str, Any] = {"activity": activity, "linkedServices": services, "datasets": []}
    for name, document in documents.items():
        (job.folder / f"{name}.json").write_text(json.dumps(document), "utf-8")
    executable = HERE.parent.parent / "target" / "release" / "dray"
    mode = "replace" if unless_many_from_sqlite(job) else "append"
    arguments = ["project.zip", "main.py", job.table_pattern(), f"mode={mode}", *options]
    if job.source.product == "ms":
        table = job.dataset.tables[0]
        arguments[2:3] = [f"{job.source.schema()}.{table}", f"into={table}"]
    return [[str(executable), "run", "--python", sys.executable, *arguments]]


def sling(job: Job) -> Commands:
    """sling with a replication file, which names one table or all that fit a pattern."""
    replication = {
        "source": "BENCH_SOURCE",
        "target": "BENCH_DESTINATION",
        "defaults": {"mode": "full-refresh", "object": job.destination.schema() + ".{stream_table}"},
        "streams": {f"{job.source.schema()}.{job.table_pattern()}": {}},
    }
    (job.folder / "replication.json").write_text(json.dumps(replication), "utf-8")  # JSON is YAML
    return [[str(sling_program(job.installed)), "run", "--replication", "replication.json"]]


def sling_program(installed: Path) -> Path:
    """The Go program in the wheel; the Python package around it would only start it."""
    found = sorted((installed / "venv-sling").glob("lib/python*/site-packages/**/sling-linux-amd64"))
    return next((path for path in found if path.is_file()), installed / "venv-sling" / "sling-linux-amd64")


def sling_environment(job: Job) -> dict[str, str]:
    """sling takes connections from variables."""

    def url(database: Database) -> str:
        if database.product == "pg":
            return database.url("postgres", "?sslmode=disable")
        return database.url({"my": "mysql", "sqlite": "sqlite"}[database.product])

    return {"BENCH_SOURCE": url(job.source), "BENCH_DESTINATION": url(job.destination)}


def ingestr(job: Job) -> Commands:
    """ingestr, one table."""

    def url(database: Database) -> str:
        if database.product == "pg":
            return database.url("postgresql", "?sslmode=disable")
        return f"sqlite:///{database.name}" if database.product == "sqlite" else database.url("mysql+pymysql")

    table = job.dataset.tables[0]
    program = job.installed / "venv-ingestr" / "bin" / "ingestr"
    source = ["--source-uri", url(job.source), "--source-table", f"{job.source.schema()}.{table}"]
    destination = ["--dest-uri", url(job.destination), "--dest-table", f"{job.destination.schema()}.{table}"]
    options = ["--incremental-strategy", "replace", "--progress", "log", "--yes"]
    return [[str(program), "ingest", *source, *destination, *options]]


def pgloader(job: Job) -> Commands:
    """pgloader with a load file."""
    many = len(job.dataset.tables) > 1
    pattern = job.table_pattern().replace("*", "%")
    names = {
        "sqlite_pg": f"like '{pattern}'",
        "pg_pg": (f"matching ~/^{pattern.strip('%')}/" if many else f"matching '{pattern}'") + " in schema 'public'",
        "my_pg": f"matching '{pattern}'",
    }[job.route]
    source = job.source.url({"pg": "postgresql", "my": "mysql", "sqlite": "sqlite"}[job.source.product])
    rename = "alter schema 'src' rename to 'public'" if job.route == "my_pg" else ""
    # By default it reads 100,000 rows ahead: too much for its heap of 1 GiB on a million rows of lineitem.
    ahead_rows = 1_000 if job.dataset.name == "long" else 10_000
    load = f"""load database from {source} into {job.destination.url("postgresql")}
with include drop, create tables, no foreign keys, create indexes, reset sequences, prefetch rows = {ahead_rows}
including only table names {names}
{rename};
"""
    (job.folder / "copy.load").write_text(load, "utf-8")
    return [["pgloader", "--root-dir", str(job.folder), "copy.load"]]


def odbc2parquet(job: Job) -> Commands:
    """odbc2parquet: a query into a Parquet file, and that into the table."""
    program = str(job.installed / "cargo" / "bin" / "odbc2parquet")
    options = "UseDeclareFetch=1;Fetch=5000;MaxVarcharSize=4000;" if job.source.product == "pg" else ""
    table = job.dataset.tables[0]
    query = [program, "-q", "query", "-c", job.source.odbc(options), "table.par", f"select * from {table}"]
    insert = [program, "-q", "insert", "-c", job.destination.odbc(), "table.par", table]
    return [["sh", "-c", '"$1" "$2" "$3" "$4" "$5" "$6" "$7" && shift 7 && "$@"', "sh", *query, *insert]]


def freebcp(job: Job) -> Commands:
    """freebcp of FreeTDS and psql in a pipe. How far it is goes to standard output, so its rows leave by another."""
    table, there = job.dataset.tables[0], job.source if job.source.product == "ms" else job.destination
    where = ["-c", "-S", f"{there.host}:{there.port}", "-U", there.user, "-P", there.password, "-D", there.name]
    if job.source.product == "ms":
        program = ["freebcp", f"{job.source.schema()}.{table}", "out", "/dev/fd/3", *where]
        return [
            ["sh", "-c", 'exec "$@" 3>&1 >&2', "sh", *program],
            job.destination.client(f"--command=copy {table} from stdin"),
        ]
    # One batch, for otherwise there is a commit after every 1,000 rows.
    batch = ["-b", str(job.dataset.rows), "-h", "TABLOCK"]
    program = ["freebcp", f"{job.destination.schema()}.{table}", "in", "/dev/stdin", *where, *batch]
    return [
        job.source.client(f"--command=copy {table} to stdout"),
        ["sh", "-c", 'exec "$@" >/dev/null', "sh", *program],
    ]


def never(job: Job) -> bool:
    """The tool cannot make tables."""
    return False


def many_between_postgresql(job: Job) -> bool:
    """Where the making of the tables is a good part of the work, and those tools that can make them get the types right
    (psycopg's script is given the statements, as its author would have written them down).
    """
    return job.route == "pg_pg" and len(job.dataset.tables) > 1


def unless_many_from_sqlite(job: Job) -> bool:
    """dray makes its tables; but not many from SQLite, where no other tool that makes them gets the types right."""
    return job.route != "sqlite_pg" or len(job.dataset.tables) == 1


ALL_DATASETS = ("lineitem", "wide", "long", "small")
OWN_DATASETS = (*ALL_DATASETS, "keyed")

# Those that have a route.
PEERS = {
    peer.name: peer
    for peer in (
        Peer("floor", floor_commands, datasets=OWN_DATASETS, creates=many_between_postgresql, quick=True),
        Peer(
            "dray",
            dray,
            routes=ALL_ROUTES,
            datasets=OWN_DATASETS,
            creates=unless_many_from_sqlite,
            quick=True,
        ),
        # By the ODBC drivers alone: rows as arrays of parameters instead of the bulk copy.
        Peer("dray-odbc", dray_with(lanes="odbc"), routes=("pg_ms",), quick=True),
        # In as many key ranges as there are cores, and with both other kinds of verification.
        Peer("dray-ranges", dray_with(ranges=os.cpu_count() or 1), datasets=("keyed",), quick=True),
        Peer("dray-unverified", dray_with(verify="none"), datasets=("keyed",), quick=True),
        Peer("dray-checksum", dray_with(verify="checksum"), datasets=("keyed",), quick=True),
        Peer(
            "duckdb",
            script("duckdb", "duckdb"),
            datasets=ALL_DATASETS,
            requirements="duckdb",
            creates=many_between_postgresql,
            quick=True,
        ),
        Peer(
            "psycopg",
            script("psycopg", "libraries"),
            routes=("pg_pg",),
            datasets=ALL_DATASETS,
            requirements="libraries",
            creates=many_between_postgresql,
            quick=True,
        ),
        Peer(
            "adbc",
            script("adbc", "libraries"),
            routes=("pg_pg", "sqlite_pg"),
            datasets=ALL_DATASETS,
            requirements="libraries",
            quick=True,
        ),
        Peer(
            "connectorx",
            script("connectorx", "libraries"),
            routes=TO_POSTGRESQL,
            datasets=ALL_DATASETS,
            requirements="libraries",
            quick=True,
        ),
        # FreeTDS's bcp; and Microsoft's driver for Python, by statements and by its own bulk copy.
        Peer("freebcp", freebcp, routes=SQLSERVER_ROUTES, creates=never),
        Peer(
            "mssql-python",
            script("mssql-python", "sqlserver"),
            routes=SQLSERVER_ROUTES,
            requirements="sqlserver",
            creates=never,
        ),
        Peer(
            "mssql-bulkcopy",
            script("mssql-bulkcopy", "sqlserver"),
            routes=("pg_ms",),
            requirements="sqlserver",
            creates=never,
        ),
        Peer("polars", script("polars", "libraries"), requirements="libraries", slow_on=("pg_my",), full_only=True),
        Peer("pgloader", pgloader, routes=TO_POSTGRESQL, datasets=ALL_DATASETS),
        Peer("ingestr", ingestr, requirements="ingestr", slow_on=("sqlite_pg", "pg_my")),
        Peer(
            "arrow-odbc",
            script("arrow-odbc", "libraries"),
            routes=ALL_ROUTES,
            requirements="libraries",
            creates=never,
            slow_on=(*TO_POSTGRESQL, "ms_pg"),
        ),
        Peer(
            "sling",
            sling,
            datasets=("lineitem", "small"),
            requirements="sling",
            environment=sling_environment,
            slow_on=PRIVATE_ROUTES,
        ),
        Peer("dlt", script("dlt", "dlt"), requirements="dlt", slow_on=PRIVATE_ROUTES, full_only=True, schema="dlt"),
        Peer("odbc2parquet", odbc2parquet, creates=never, slow_on=TO_POSTGRESQL, full_only=True),
        Peer(
            "pyodbc",
            script("pyodbc", "libraries"),
            routes=ALL_ROUTES,
            requirements="libraries",
            creates=never,
            slow_on=(*PRIVATE_ROUTES, "ms_pg"),
        ),
    )
    if set(peer.routes) & set(ROUTES)
}
