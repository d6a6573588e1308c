"""mssql-python: fetchmany, into psycopg's COPY; or psycopg's rows, into executemany."""

import job
import mssql_python
import psycopg

ROWS = 5000


def sqlserver(database):
    """A connection; the driver is the package's own."""
    return mssql_python.connect(database.odbc.partition(";")[2])


def from_sqlserver(wanted, table):
    """Into PostgreSQL."""
    with sqlserver(wanted.source) as source, psycopg.connect(wanted.destination.url) as destination:
        out = source.cursor()
        out.execute(f"select * from {wanted.source.schema}.{table}")
        with destination.cursor().copy(f"copy {table} from stdin") as into:
            while rows := out.fetchmany(ROWS):
                for row in rows:
                    into.write_row(row)


def into_sqlserver(wanted, table):
    """Out of PostgreSQL."""
    marks = ",".join("?" * len(wanted.columns))
    with psycopg.connect(wanted.source.url) as source, sqlserver(wanted.destination) as destination:
        out, into = source.cursor(name="rows"), destination.cursor()
        out.execute(f"select * from {table}")
        while rows := out.fetchmany(ROWS):
            into.executemany(f"insert into {table} values ({marks})", rows)
        destination.commit()


wanted = job.read()
for table in wanted.tables:
    (from_sqlserver if wanted.source.product == "ms" else into_sqlserver)(wanted, table)
