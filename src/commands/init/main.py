"""Copies the tables that plan.json lists, and hands the number of rows to the pipeline."""

import argparse
import json
import sqlite3
from pathlib import Path

import dray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--plan", default="plan.json", help="the plan, for `dray copy` as well [default: plan.json]")
    parser.add_argument("--month", type=int, choices=range(1, 13), help="only the orders of this month")
    arguments = parser.parse_args()

    make_example(Path("sales.db"))
    plan = json.loads(Path(arguments.plan).read_text("utf-8"))
    only = {"where": f"month = {arguments.month}"} if arguments.month else {}
    # Its words are those of dray.Copy and dray.copy_tables.
    copies = [dray.Copy(**{**copy, **only}) for copy in plan.pop("copy")]
    report = dray.copy_tables(copies, **plan)
    for table in report.tables:
        print(f"{table.table}: {table.rows} rows")
    # The next activity reads it: @activity('CopySales').output.customOutput.rows
    dray.outputs["rows"] = report.rows


def make_example(path: Path) -> None:
    """Makes the database that the connection Sales names, unless it is there. Remove this once you have your own."""
    if path.exists():
        return
    connection = sqlite3.connect(path)
    with connection:
        connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, month INTEGER NOT NULL, amount DECIMAL(10, 2))"
        )
        rows = [(number, number % 12 + 1, f"{number}.50") for number in range(1, 121)]
        connection.executemany("INSERT INTO orders VALUES (?, ?, ?)", rows)
    connection.close()


if __name__ == "__main__":
    main()
