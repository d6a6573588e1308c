"""The floor: the pipe of the databases' own tools that somebody would make by hand, without any tool between.

PostgreSQL's COPY in its binary format where both ends have it, else text that both ends agree on, so that neither has
to convert twice. Many tables go through one pipe as well: a process a table would measure the start of processes.
"""

from __future__ import annotations

from datasets import Dataset

from database import Database


def commands(route: str, dataset: Dataset, source: Database, destination: Database) -> list[list[str]]:
    """The parts of the pipe."""
    if len(dataset.tables) > 1:
        return many_tables(route, dataset, source, destination)
    table = dataset.tables[0]
    if route == "pg_pg":
        return [
            source.client(f"--command=copy {table} to stdout (format binary)"),
            destination.client(f"--command=copy {table} from stdin (format binary)"),
        ]
    if route == "sqlite_pg":
        return [
            ["sqlite3", "-csv", source.name, f"select * from {table}"],
            destination.client(f"--command=copy {table} from stdin (format csv)"),
        ]
    if route == "pg_my":
        # What COPY escapes in its text format is what LOAD DATA takes by default.
        load = f"load data local infile '/dev/stdin' into table {table} character set utf8mb4"
        return [
            source.client(f"--command=copy {table} to stdout"),
            destination.client("--local-infile=1", f"--execute={load}"),
        ]
    if route == "my_pg":
        return [
            source.client("--quick", "--batch", "--skip-column-names", f"--execute=select * from {table}"),
            destination.client(f"--command=copy {table} from stdin"),
        ]
    raise ValueError(f"no floor for `{route}`")


def many_tables(route: str, dataset: Dataset, source: Database, destination: Database) -> list[list[str]]:
    """pg_dump, which makes the tables too; or one sqlite3 that prints a script for psql, its COPY commands and rows."""
    if route == "pg_pg":
        prefix = dataset.tables[0].partition("_")[0]
        where = [f"--host={source.host}", f"--port={source.port}", f"--username={source.user}"]
        return [
            ["pg_dump", *where, "--no-owner", "--no-privileges", f"--table={prefix}_*", source.name],
            destination.client("--single-transaction", "--file=-", "--output=/dev/null"),
        ]
    if route == "sqlite_pg":
        # `-csv`, not `.mode csv`, which would end the lines as Windows does.
        script = []
        for table in dataset.tables:
            script += [f'.print "COPY {table} FROM STDIN (FORMAT csv);"', f"select * from {table};", '.print "\\\\."']
        commands = [part for line in script for part in ("-cmd", line)]
        return [
            ["sqlite3", "-batch", "-csv", *commands, source.name, ""],
            destination.client("--single-transaction", "--file=-"),
        ]
    raise ValueError(f"no floor for many tables on `{route}`")
