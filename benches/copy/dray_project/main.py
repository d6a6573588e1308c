"""What a user of dray writes: one call, the databases by the names of their linked services.

Arguments: the table or pattern, and options of the copy as `name=value`.
"""

import sys

import dray

tables, *chosen = sys.argv[1:]
options = dict(one.split("=") for one in chosen)
if "ranges" in options:
    options["ranges"] = int(options["ranges"])
if "*" in tables:
    report = dray.copy_tables(dray.Copy("Source", tables), target="Destination", **options)
    dray.outputs["rows"] = report.rows
else:
    dray.outputs["rows"] = dray.copy_table("Source", "Destination", tables, **options).rows
