"""Time of scoring a table on Spark and on Ray: with this project's function, and with what a person has without it.

Spark: MLflow's own `spark_udf`; Ray: `map_batches` with an actor that calls the model. Each is a process of its own, on
two processors, and measures its work without its start. An actor of Ray is started and loads the model in each run.
"""

import argparse
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from benchmarks.scoring_tables import COLUMNS, write_doubles
from testbed.engines import Engines, installed_engines

WAYS: Final = {
    "spark": "predict_udf on Spark",
    "spark-mlflow": "MLflow's spark_udf",
    "ray": "score_dataset on Ray",
    "ray-by-hand": "map_batches by hand",
}
FILE_ROWS: Final = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ways", nargs="*", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    print(describe())
    engines = installed_engines()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        script = Path(__file__).with_name("save_model.py")
        subprocess.run(
            [engines.python, script, "elastic-net", directory / "model"], check=True, capture_output=True, cwd=directory
        )
        (directory / "rows").mkdir()
        write_doubles(directory / "one.parquet", 1)
        for number, first in enumerate(range(0, options.rows, FILE_ROWS)):
            write_doubles(directory / "rows" / f"{number}.parquet", min(FILE_ROWS, options.rows - first))
        print(f"{options.rows:,} rows of {len(COLUMNS)} doubles, Parquet, two processors, medians of {options.rounds}")
        seconds = {way: [seconds_of(way, engines, directory, options.rows)] for way in options.ways}
        for _ in range(options.rounds - 1):
            for way in options.ways:
                seconds[way].append(seconds_of(way, engines, directory, options.rows))
    for way, measured in seconds.items():
        middle = statistics.median(measured)
        print(f"  {WAYS[way]:<24}{middle:>8.1f} s{options.rows / middle:>14,.0f} rows a second")


def seconds_of(way: str, engines: Engines, directory: Path, rows: int) -> float:
    script = Path(__file__).with_name("score_with_engine.py")
    arguments = [directory / "model", directory / "one.parquet", directory / "rows", directory / "out"]
    log = directory / "log"
    with engines.running(engines.python, script, way, *arguments, log=log) as process:
        ended = process.wait()
    told = log.read_text(errors="replace")
    if ended or f"rows {rows}\n" not in told:
        raise SystemExit(f"{way} ended with {ended}:\n{told[-3000:]}")
    return float(told.rpartition("seconds ")[2].split()[0])


if __name__ == "__main__":
    main()
