"""What a user of dray writes: one call, the databases by the names of their linked services."""

import sys

import dray

tables, mode, *ranges = sys.argv[1:]
options = {"mode": mode, **({"ranges": int(ranges[0])} if ranges else {})}
if "*" in tables:
    report = dray.copy_tables(dray.Copy("Source", tables), target="Destination", **options)
    dray.outputs["rows"] = report.rows
else:
    dray.outputs["rows"] = dray.copy_table("Source", "Destination", tables, **options).rows
