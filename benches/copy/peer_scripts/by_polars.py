"""polars: read with its connectorx engine, written with ADBC where there is a driver, else with SQLAlchemy."""

import job
import polars

wanted = job.read()
into_postgresql = wanted.destination.product == "pg"
url = wanted.destination.url if into_postgresql else wanted.destination.url.replace("mysql", "mysql+pymysql", 1)
for table in wanted.tables:
    rows = polars.read_database_uri(f"select * from {table}", wanted.source.url, engine="connectorx")
    engine = "adbc" if into_postgresql else "sqlalchemy"
    rows.write_database(table, url, engine=engine, if_table_exists="replace")
