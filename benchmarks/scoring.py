"""Cost of scoring a million rows of a file: our command, a short script of a person, and MLflow's own command.

Each is a process of its own. The cost for one row, start and loading, is measured first, and subtracted.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from benchmarks.machine import describe
from testbed.environments import python_of

COLUMNS: Final = [f"measure {number}" for number in range(11)]  # as benchmarks/save_model.py has them
SEED: Final = 7
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a process: seconds of processor, seconds by the clock, MiB of memory at its largest."""

    processor: float
    clock: float
    memory: float


def main() -> None:
    options = arguments()
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        mlflow = python_of("mlflow-3.17")
        script = Path(__file__).with_name("save_model.py")
        subprocess.run(
            [mlflow, script, "elastic-net", directory / "model"], check=True, capture_output=True, cwd=directory
        )
        for form in ("csv", "parquet"):
            write(directory / f"one.{form}", 1)
            write(directory / f"rows.{form}", options.rows)
            size = (directory / f"rows.{form}").stat().st_size / 1e6
            print(f"\n{options.rows:,} rows of {len(COLUMNS)} doubles, {form}, {size:.0f} MB")
            report(measured(directory, form, mlflow, options.rounds))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def write(path: Path, rows: int) -> None:
    frame = pd.DataFrame(np.random.default_rng(SEED).normal(size=(rows, len(COLUMNS))), columns=COLUMNS)
    if path.suffix == ".csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)


def commands(directory: Path, source: Path, mlflow: Path) -> Mapping[str, Command]:
    model, output = directory / "model", directory / "out.parquet"
    ours: Command = [sys.executable, "-m", "serving_runtime", "predict", "--model-path", model, source, "-o", output]
    found: dict[str, Command] = {
        "model-api-runtime predict": ours,
        "pandas and mlflow.pyfunc": [
            sys.executable,
            Path(__file__).with_name("score_with_pandas.py"),
            model,
            source,
            output,
        ],
    }
    if source.suffix == ".csv":  # it reads no Parquet, and writes JSON
        theirs: list[str | Path] = [
            mlflow,
            "-m",
            "mlflow",
            "models",
            "predict",
            "--env-manager",
            "local",
            "--content-type",
            "csv",
        ]
        files: list[str | Path] = [
            "--model-uri",
            model,
            "--input-path",
            source,
            "--output-path",
            directory / "out.json",
        ]
        found["mlflow models predict"] = [*theirs, *files]
    return found


def measured(directory: Path, form: str, mlflow: Path, rounds: int) -> Mapping[str, tuple[list[Cost], list[Cost]]]:
    """Return the costs for one row and for all rows, measured in turn, so that other load meets all programs."""
    starts = commands(directory, directory / f"one.{form}", mlflow)
    whole = commands(directory, directory / f"rows.{form}", mlflow)
    costs: dict[str, tuple[list[Cost], list[Cost]]] = {name: ([], []) for name in starts}
    for _ in range(rounds):
        for name, (start, all_rows) in costs.items():
            start.append(cost(starts[name], directory))
            all_rows.append(cost(whole[name], directory))
    return costs


def cost(command: Command, directory: Path) -> Cost:
    began = time.perf_counter()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
        _, status, used = os.wait4(process.pid, 0)
    clock = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{(directory / 'log').read_text()[-2000:]}")
    return Cost(processor=used.ru_utime + used.ru_stime, clock=clock, memory=used.ru_maxrss / 1024)


def report(costs: Mapping[str, tuple[list[Cost], list[Cost]]]) -> None:
    print(f"{'':<28}{'beyond the start':>26}{'the whole process':>26}")
    print(f"{'medians':<28}{'processor':>13}{'clock':>13}{'processor':>13}{'clock':>13}{'memory':>13}")
    for name, (starts, wholes) in costs.items():
        start, whole = middle(starts), middle(wholes)
        row = f"{whole.processor - start.processor:>11.2f} s{whole.clock - start.clock:>11.2f} s"
        print(f"  {name:<26}{row}{whole.processor:>11.2f} s{whole.clock:>11.2f} s{whole.memory:>9.0f} MiB")


def middle(costs: Sequence[Cost]) -> Cost:
    return Cost(
        processor=statistics.median(cost.processor for cost in costs),
        clock=statistics.median(cost.clock for cost in costs),
        memory=statistics.median(cost.memory for cost in costs),
    )


if __name__ == "__main__":
    main()
