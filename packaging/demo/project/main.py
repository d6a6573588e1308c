"""Brings one month of flights, and all that explains them, from three databases into the warehouse."""

import argparse
import logging

import dray

DELAYS = """
    SELECT airlines.name AS airline, COUNT(*) AS flights, SUM(CASE WHEN arr_delay > 15 THEN 1 ELSE 0 END) AS late
    FROM flights JOIN airlines ON airlines.carrier = flights.carrier
    WHERE flights.month = ?
    GROUP BY airlines.name
    ORDER BY late DESC
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--month", type=int, choices=range(1, 13), required=True)
    month = parser.parse_args().month

    logging.info("run %s asks for month %d", dray.params.pipeline_run_id, month)
    report = dray.copy_tables(
        [
            dray.Copy("Flights", "flights", where=f"month = {month}"),
            dray.Copy("Flights", "planes"),
            dray.Copy("Carriers", "*"),
            dray.Copy("Places", "*", exclude=["weather"]),
            dray.Copy("Places", "weather", where=f"month = {month}"),
        ],
        target="Warehouse",
        mode="replace",
    )

    with dray.connect("Warehouse") as warehouse:
        delays = warehouse.query(DELAYS, month)
    for row in delays[: dray.params.airlines_shown]:
        print(f"{row['airline']:<28} {row['flights']:>6} flights {row['late']:>6} late")

    dray.outputs["rows"] = report.rows
    dray.outputs["most_delayed"] = delays[0]["airline"]
    # A SecureString is masked wherever dray or a repr shows it; as a value it is a plain str.
    print(f"the report would go out with token {dray.params.report_token!r}")


if __name__ == "__main__":
    main()
