"""Compares the inputs of an inference table with those of the training, by Evidently: a page for people.

python drift.py flowers.csv captured drift.html
"""

import sys

import duckdb
from evidently import Report
from evidently.presets import DataDriftPreset


def main(training: str, directory: str, page: str) -> None:
    reference = duckdb.sql(f"FROM read_csv('{training}')").df()
    current = duckdb.sql(
        rf"SELECT COLUMNS('input_(.*)') AS '\1' FROM read_parquet('{directory}/**/*.parquet', union_by_name = true)"  # noqa: S608  as above
        " WHERE time > (SELECT max(time) FROM read_parquet('" + directory + "/**/*.parquet')) - INTERVAL 20 SECONDS"
    ).df()
    result = Report([DataDriftPreset()]).run(current, reference)
    result.save_html(page)
    for metric in result.dict()["metrics"]:
        print(metric["metric_name"], metric["value"])  # noqa: T201  it prints


if __name__ == "__main__":
    main(*sys.argv[1:])
