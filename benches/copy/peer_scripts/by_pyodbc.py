"""pyodbc: fetchmany and executemany with fast_executemany."""

import re

import job
import pyodbc

ROWS = 5000
PSQLODBC = f"UseDeclareFetch=1;Fetch={ROWS};MaxVarcharSize=4000;"
SQL_TYPES = {
    "bigint": pyodbc.SQL_BIGINT,
    "integer": pyodbc.SQL_INTEGER,
    "numeric": pyodbc.SQL_NUMERIC,
    "char": pyodbc.SQL_VARCHAR,
    "varchar": pyodbc.SQL_VARCHAR,
    "date": pyodbc.SQL_TYPE_DATE,
}


def input_size(type_name: str) -> tuple[int, int, int]:
    """What setinputsizes takes for a column: without it pyodbc asks the server for each parameter of each batch."""
    lengths = [int(number) for number in re.findall(r"\d+", type_name)]
    defaults = [10, 0] if type_name == "date" else [0, 0]
    size, scale = (lengths + defaults[len(lengths) :])[:2]
    return SQL_TYPES[type_name.partition("(")[0]], size, scale


wanted = job.read()
if wanted.destination.product == "ms":
    SQL_TYPES.update(char=pyodbc.SQL_WVARCHAR, varchar=pyodbc.SQL_WVARCHAR)
source = pyodbc.connect(wanted.source.odbc + (PSQLODBC if wanted.source.product == "pg" else ""))
destination = pyodbc.connect(wanted.destination.odbc, autocommit=False)
out, into = source.cursor(), destination.cursor()
marks = ",".join("?" * len(wanted.columns))
for table in wanted.tables:
    out.execute(f"select * from {wanted.source.schema}.{table}")
    # SQLite's driver gives floats for decimals and text for dates, which fast_executemany does not take for them.
    into.fast_executemany = wanted.source.product != "sqlite"
    if into.fast_executemany:
        into.setinputsizes([input_size(column.type) for column in wanted.columns])
    while rows := out.fetchmany(ROWS):
        into.executemany(f"insert into {table} values ({marks})", rows)
destination.commit()
