"""ADBC: a stream of Arrow batches out of one driver, into PostgreSQL's by its bulk ingestion, which makes the table."""

import adbc_driver_postgresql.dbapi as postgresql
import adbc_driver_sqlite.dbapi as sqlite
import job

wanted = job.read()
if wanted.source.product == "pg":
    connected = postgresql.connect(wanted.source.url)
else:
    connected = sqlite.connect(wanted.source.name)
with (
    connected as source,
    postgresql.connect(wanted.destination.url) as destination,
    source.cursor() as out,
    destination.cursor() as into,
):
    for table in wanted.tables:
        out.execute(f"select * from {table}")
        into.adbc_ingest(table, out.fetch_record_batch(), mode="create")
    destination.commit()
