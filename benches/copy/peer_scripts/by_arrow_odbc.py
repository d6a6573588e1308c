"""arrow-odbc: Arrow batches out of one ODBC driver, parameter arrays into another."""

import arrow_odbc
import job

ROWS = 5000
# Without these psqlodbc keeps the whole result in memory, and cuts the buffers of text by a guess.
PSQLODBC = f"UseDeclareFetch=1;Fetch={ROWS};MaxVarcharSize=4000;"

wanted = job.read()
options = PSQLODBC if wanted.source.product == "pg" else ""
for table in wanted.tables:
    reader = arrow_odbc.read_arrow_batches_from_odbc(
        query=f"select * from {wanted.source.schema}.{table}",
        connection_string=wanted.source.odbc + options,
        batch_size=ROWS,
        max_text_size=4000,
    )
    arrow_odbc.insert_into_table(connection_string=wanted.destination.odbc, chunk_size=ROWS, table=table, reader=reader)
