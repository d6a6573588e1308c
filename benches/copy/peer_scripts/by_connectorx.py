"""connectorx reads the table into Arrow, ADBC ingests it."""

import adbc_driver_postgresql.dbapi as postgresql
import connectorx
import job

wanted = job.read()
with postgresql.connect(wanted.destination.url) as destination, destination.cursor() as into:
    for table in wanted.tables:
        rows = connectorx.read_sql(wanted.source.url, f"select * from {table}", return_type="arrow")
        into.adbc_ingest(table, rows, mode="create")
    destination.commit()
