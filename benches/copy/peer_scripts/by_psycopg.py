"""psycopg: COPY binary out of one connection, into another."""

import job
import psycopg

wanted = job.read()
with psycopg.connect(wanted.source.url) as source, psycopg.connect(wanted.destination.url) as destination:
    for table, statement in zip(wanted.tables, wanted.ddl):
        if wanted.creates:
            destination.execute(statement)
        with (
            source.cursor().copy(f"copy {table} to stdout (format binary)") as out,
            destination.cursor().copy(f"copy {table} from stdin (format binary)") as into,
        ):
            for data in out:
                into.write(data)
