"""What a user of dray writes: one call, the databases by the names of their linked services."""

import sys

import dray

tables, mode = sys.argv[1:]
if "*" in tables:
    report = dray.copy_tables(dray.Copy("Source", tables), target="Destination", mode=mode)
    dray.outputs["rows"] = report.rows
else:
    dray.outputs["rows"] = dray.copy_table("Source", "Destination", tables, mode=mode).rows
