"""dlt: its SQL source with the backend pyarrow, into a dataset (a schema, or a database of MariaDB) called `dlt`."""

import dlt
import job
from dlt.sources.sql_database import sql_table

wanted = job.read()
source = {"pg": "postgresql+psycopg2", "my": "mysql+pymysql", "sqlite": "sqlite"}[wanted.source.product]
url = (
    f"sqlite:///{wanted.source.name}" if source == "sqlite" else source + "://" + wanted.source.url.partition("://")[2]
)
options = {} if source == "sqlite" else {"schema": wanted.source.schema}
if wanted.destination.product == "pg":
    destination, file_format = dlt.destinations.postgres(wanted.destination.url), "csv"
else:
    there = wanted.destination.url.partition("://")[2].rpartition("/")[0]
    destination, file_format = dlt.destinations.sqlalchemy(f"mysql+pymysql://{there}/dlt"), None
pipeline = dlt.pipeline("bench", destination=destination, dataset_name="dlt", pipelines_dir="dlt")
for table in wanted.tables:
    rows = sql_table(url, table=table, backend="pyarrow", chunk_size=50_000, **options)
    pipeline.run(rows, write_disposition="replace", loader_file_format=file_format)
