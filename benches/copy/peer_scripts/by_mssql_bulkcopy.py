"""mssql-python: the rows of psycopg's cursor into `Cursor.bulkcopy`, which is no part of a transaction."""

import job
import mssql_python
import psycopg

wanted = job.read()
with (
    psycopg.connect(wanted.source.url) as source,
    mssql_python.connect(wanted.destination.odbc.partition(";")[2]) as destination,
):
    for table in wanted.tables:
        out = source.cursor(name="rows")
        out.itersize = 5000
        out.execute(f"select * from {table}")
        destination.cursor().bulkcopy(table, out, timeout=0, table_lock=True)
