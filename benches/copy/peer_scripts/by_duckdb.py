"""DuckDB: both databases attached, INSERT ... SELECT from one into the other; the extensions lie in PyPI wheels."""

import importlib.util
from pathlib import Path

import duckdb
import job

EXTENSIONS = {"pg": "postgres_scanner", "my": "mysql_scanner", "sqlite": "sqlite_scanner"}
TYPES = {"pg": "postgres", "my": "mysql", "sqlite": "sqlite"}


def attach(connection, name, database):
    """Load the extension of the database's product and attach it as `name`."""
    extension = EXTENSIONS[database.product]
    package = importlib.util.find_spec(f"duckdb_extension_{extension}")
    (file,) = Path(package.submodule_search_locations[0]).rglob(f"{extension}.duckdb_extension")
    connection.execute(f"load '{file}'")
    where = database.name
    if database.product != "sqlite":
        key = "dbname" if database.product == "pg" else "database"
        where = f"host={database.host} port={database.port} user={database.user} password={database.password}"
        where += f" {key}={database.name}"
    connection.execute(f"attach '{where}' as {name} (type {TYPES[database.product]})")


wanted = job.read()
# One thread: a copy of one stream, as the others are; more read PostgreSQL by several connections.
with duckdb.connect(config={"threads": 1}) as connection:
    attach(connection, "source", wanted.source)
    attach(connection, "destination", wanted.destination)
    for table in wanted.tables:
        made = "create table {} as" if wanted.creates else "insert into {}"
        into = made.format(f"destination.{wanted.destination.schema}.{table}")
        connection.execute(f"{into} select * from source.{wanted.source.schema}.{table}")
