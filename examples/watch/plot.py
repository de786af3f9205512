"""Draws an input and the predictions over time from an inference table.

python plot.py captured "petal length (cm)" watch.png
"""

import sys

import duckdb
import matplotlib as mpl

mpl.use("agg")

from matplotlib import dates, pyplot

QUERY = """
    SELECT time_bucket(INTERVAL 2 SECONDS, time) AS moment,
           quantile_cont("input_{column}", [0.1, 0.5, 0.9]) AS spread,
           prediction, count(*) AS rows
    FROM read_parquet('{directory}/**/*.parquet', hive_partitioning = true, union_by_name = true)
    GROUP BY GROUPING SETS ((moment), (moment, prediction)) ORDER BY moment, prediction
"""


def main(directory: str, column: str, picture: str) -> None:
    found = duckdb.sql(QUERY.format(directory=directory, column=column)).df()
    whole = found[found["prediction"].isna()]
    shares = found.dropna(subset=["prediction"]).pivot_table(index="moment", columns="prediction", values="rows")
    shares = shares.fillna(0).div(shares.sum(axis=1), axis=0)
    figure, (above, below) = pyplot.subplots(2, sharex=True, figsize=(9, 5), layout="constrained")
    low, middle, high = zip(*whole["spread"], strict=True)
    above.fill_between(whole["moment"], low, high, alpha=0.25, label="10 % to 90 %")
    above.plot(whole["moment"], middle, label="median")
    above.set_title(f"input: {column}", loc="left")
    above.legend(loc="upper left")
    below.stackplot(shares.index, shares.to_numpy().T, labels=[f"class {name:g}" for name in shares], alpha=0.7)
    below.set_title("predictions, share of the rows", loc="left")
    below.legend(loc="upper left")
    below.xaxis.set_major_formatter(dates.DateFormatter("%H:%M:%S"))
    figure.savefig(picture, dpi=110)


if __name__ == "__main__":
    main(*sys.argv[1:])
