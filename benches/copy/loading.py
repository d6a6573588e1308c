"""Fills the sources: CSV files and SQLite databases are kept below target/bench/data, the servers are filled each time.

Knows how a dataset's file looks (`generate.py`), and nothing of measuring.
"""

from __future__ import annotations

import csv
import io
import itertools
import sqlite3
import subprocess
from pathlib import Path

from datasets import Dataset

from database import Database, sqlite_database


def csv_file(dataset: Dataset, folder: Path, python: Path) -> Path:
    """The dataset's rows, made by `python`, which has NumPy, if they are not there yet."""
    path = folder / f"{dataset.key}.csv"
    if not path.is_file():
        script = Path(__file__).with_name("generate.py")
        size = [str(len(dataset.tables)), str(dataset.rows)]
        subprocess.run([str(python), str(script), dataset.name, *size, str(path)], check=True)
    return path


def fill_postgresql(database: Database, dataset: Dataset, rows: Path) -> None:
    """Make the tables and load them."""
    database.query("".join(f"drop table if exists {t}; {dataset.ddl(t, 'pg')};" for t in dataset.tables))
    if len(dataset.tables) == 1:
        with rows.open("rb") as stream:
            database.feed([f"--command=copy {dataset.tables[0]} from stdin (format csv)"], stream)
    else:
        # One script for psql: the COPY of each table, then its rows.
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        with rows.open(encoding="utf-8", newline="") as stream:
            records = csv.reader(stream)
            for table in dataset.tables:
                text.write(f"copy {table} from stdin (format csv);\n")
                writer.writerows(itertools.islice(records, dataset.rows))
                text.write("\\.\n")
        database.feed(["--file=-"], text.getvalue().encode())
    database.query("vacuum analyze")


def fill_mariadb(database: Database, dataset: Dataset, rows: Path) -> None:
    """Make the only table and load it; the file holds neither NULL nor a line end."""
    table = dataset.tables[0]
    database.query(f"drop table if exists {table}; {dataset.ddl(table, 'my')}")
    load = f"load data local infile '/dev/stdin' into table {table} fields terminated by ',' escaped by ''"
    with rows.open("rb") as stream:
        database.feed(["--local-infile=1", f"--execute={load}"], stream)
    database.query(f"analyze table {table}")


def fill_sqlserver(database: Database, dataset: Dataset, rows: Path) -> None:
    """Make the only table and load it, slowly; the file holds no empty text, which would become NULL."""
    table = f"{database.schema()}.{dataset.tables[0]}"
    database.query(f"drop table if exists {table}; {dataset.ddl(table, database.product)}")
    with rows.open("rb") as stream:
        database.feed(["--into", table], stream)


def fill_sqlite(dataset: Dataset, rows: Path) -> Database:
    """The file with the tables, made if it is not there yet. Values get the affinity of their declared types."""
    path = rows.with_suffix(".db")
    if not path.is_file():
        unfinished = rows.with_suffix(".part-db")
        unfinished.unlink(missing_ok=True)
        connection = sqlite3.connect(unfinished)
        connection.executescript("pragma journal_mode = off; pragma synchronous = off")
        marks = ",".join("?" * len(dataset.columns))
        with rows.open(encoding="utf-8", newline="") as stream:
            lines = ([field or None for field in fields] for fields in csv.reader(stream))
            for table in dataset.tables:
                connection.execute(dataset.ddl(table, "sqlite"))
                connection.executemany(f"insert into {table} values ({marks})", itertools.islice(lines, dataset.rows))
        connection.commit()
        connection.close()
        unfinished.rename(path)
    return sqlite_database(path)
