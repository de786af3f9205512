"""Cost of scoring files: our command, a short script of a person, and MLflow's own command.

`python -m benchmarks.scoring [case ...] [--rows 1000000] [--rounds 3] [--before CHECKOUT]`
The cases are doubles, mixed, nested, tensors and large. The cost of a whole process is the median of the rounds. The
cost beyond the start is that of runs in one process that has its libraries, the least for all rows less the least for
one row: starts differ by more than scoring a small file takes. With --before, lists and tensors are scored by the
command of another checkout too, such as that of an earlier commit.
"""

import argparse
import compileall
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import scoring_tables
from benchmarks.machine import describe
from testbed.environments import python_of

OURS: Final = "model-api-runtime predict"
BEFORE: Final = "the same, --before"
SCRIPT: Final = "pandas and mlflow.pyfunc"
THEIRS: Final = "mlflow models predict"
FEWER: Final = 20  # times fewer rows of lists and tensors, which are longer
LARGE: Final = 100  # times more rows of the large table
REPEATED: Final = 4  # runs in one process, the first of which is not counted
PACKAGES: Final = ("serving_runtime", "model_contract")  # that the command imports
Command = Sequence[str | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Cost of a process: seconds of processor, seconds by the clock, MiB of memory at its largest."""

    processor: float
    clock: float
    memory: float


@dataclass(slots=True)
class Costs:
    """Costs of a program: of whole processes for all rows, and of runs without their start, for one row and for all."""

    whole: list[Cost]
    one: list[Cost]
    rows: list[Cost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A table that is written in each of the `forms`, the `model` that scores it, and the programs that do."""

    model: str
    what: str
    write: Callable[[Path, int], None]
    forms: Sequence[str] = ("csv", "parquet")
    programs: Sequence[str] = (OURS, SCRIPT)


CASES: Final = {
    "doubles": Case(
        model="elastic-net",
        what="11 doubles",
        write=scoring_tables.write_doubles,
        programs=(OURS, SCRIPT, THEIRS),
    ),
    "mixed": Case(model="mixed", what="texts, times, numbers and nulls", write=scoring_tables.write_mixed),
    "nested": Case(
        model="nested",
        what="two lists and an object",
        write=scoring_tables.write_nested,
        forms=("parquet", "jsonl"),
        programs=(OURS, BEFORE),
    ),
    "tensors": Case(
        model="tensors",
        what="a tensor of 28 x 28 floats",
        write=scoring_tables.write_tensors,
        forms=("parquet", "jsonl"),
        programs=(OURS, BEFORE),
    ),
    "large": Case(
        model="elastic-net",
        what="11 doubles",
        write=scoring_tables.write_many_doubles,
        forms=("parquet",),
        programs=(OURS,),
    ),
}


def main() -> None:
    options = arguments()
    print(describe(), flush=True)
    for checkout in filter(None, (Path.cwd(), options.before)):
        for package in PACKAGES:  # as pip does, which has installed the libraries of the script
            compileall.compile_dir(checkout / package, quiet=1)
    for name in options.cases or CASES:
        case = CASES[name]
        times = LARGE if name == "large" else 1 / FEWER if "jsonl" in case.forms else 1
        with tempfile.TemporaryDirectory() as directory:
            measure(case, int(options.rows * times), options, Path(directory))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path, metavar="CHECKOUT")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):  # argparse's own `choices` refuse none at all
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    return options


def measure(case: Case, rows: int, options: argparse.Namespace, directory: Path) -> None:
    mlflow, script = python_of("mlflow-3.17"), Path(__file__).with_name("save_model.py")
    subprocess.run([mlflow, script, case.model, directory / "model"], check=True, capture_output=True, cwd=directory)
    for form in case.forms:
        source = directory / f"rows.{form}"
        for path, count in ((directory / f"one.{form}", 1), (source, rows)):
            # By another process: a program's memory counts from that of the process that starts it.
            writer = multiprocessing.get_context("spawn").Process(target=case.write, args=(path, count))
            writer.start()
            writer.join()
        print(f"\n{rows:,} rows of {case.what}, {form}, {source.stat().st_size / 1e6:,.0f} MB", flush=True)
        names = [name for name in case.programs if _can(name, form, options.before)]
        report(measured(names, directory, form, options), rows)
        source.unlink()


def _can(program: str, form: str, before: Path | None) -> bool:
    """Return True if a program is there, and reads the form: MLflow's reads no Parquet."""
    return (program != THEIRS or form == "csv") and (program != BEFORE or before is not None)


def command(program: str, directory: Path, source: Path) -> Command:
    model, output = directory / "model", directory / "out.parquet"
    match program:
        case "pandas and mlflow.pyfunc":
            return [sys.executable, Path(__file__).with_name("score_with_pandas.py"), model, source, output]
        case "mlflow models predict":  # it writes JSON
            theirs: list[str | Path] = [
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
            return [python_of("mlflow-3.17"), *theirs, *files]
        case _:
            return [sys.executable, "-m", "serving_runtime", "predict", "--model-path", model, source, "-o", output]


def measured(names: Sequence[str], directory: Path, form: str, options: argparse.Namespace) -> Mapping[str, Costs]:
    """Return the costs of the programs, measured in turn, so that other load meets all of them."""
    costs = {name: Costs([], [], []) for name in names}
    for _ in range(options.rounds):
        for name, found in costs.items():
            checkout = options.before if name == BEFORE else Path.cwd()
            one, rows = (command(name, directory, directory / f"{source}.{form}") for source in ("one", "rows"))
            found.whole.append(whole_cost(rows, checkout, directory))
            if name == THEIRS:  # it starts a process of its own
                found.one.append(whole_cost(one, checkout, directory))
                found.rows.append(found.whole[-1])
            else:
                found.one += costs_without_start(one, checkout, directory)
                found.rows += costs_without_start(rows, checkout, directory)
    return costs


def whole_cost(command: Command, checkout: Path, directory: Path) -> Cost:
    began = time.perf_counter()
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=checkout)
        _, status, used = os.wait4(process.pid, 0)
    clock = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{command} ended with {process.returncode}:\n{(directory / 'log').read_text()[-2000:]}")
    return Cost(processor=used.ru_utime + used.ru_stime, clock=clock, memory=used.ru_maxrss / 1024)


def costs_without_start(command: Command, checkout: Path, directory: Path) -> list[Cost]:
    """Return the cost of each run in a process that has the program's libraries."""
    python, *program = (part for part in command if part != "-m")
    done = subprocess.run(
        [python, Path(__file__).with_name("run_repeatedly.py"), str(REPEATED), *program],
        env=dict(os.environ) | {"PYTHONPATH": str(checkout)},
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{command} ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return [Cost(processor=processor, clock=clock, memory=0) for processor, clock in json.loads(done.stdout)]


def report(costs: Mapping[str, Costs], rows: int) -> None:
    print(f"{'':<28}{'beyond the start, least':>42}{'the whole process, median':>38}")
    print(f"{'':<28}{'processor':>13}{'clock':>13}{'rows/s':>16}{'processor':>13}{'clock':>13}{'memory':>13}")
    for name, found in costs.items():
        processor, clock = (
            min(getattr(cost, what) for cost in found.rows) - min(getattr(cost, what) for cost in found.one)
            for what in ("processor", "clock")
        )
        whole = middle(found.whole)
        row = f"{processor:>11.2f} s{clock:>11.2f} s{rows / max(clock, 0.001):>16,.0f}"
        print(f"  {name:<26}{row}{whole.processor:>11.2f} s{whole.clock:>11.2f} s{whole.memory:>9.0f} MiB", flush=True)


def middle(costs: Sequence[Cost]) -> Cost:
    return Cost(
        processor=statistics.median(cost.processor for cost in costs),
        clock=statistics.median(cost.clock for cost in costs),
        memory=statistics.median(cost.memory for cost in costs),
    )


if __name__ == "__main__":
    main()
