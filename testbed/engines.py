"""Spark and Ray in an environment that has both, and the tables and processes of their tests."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from testbed.environments import python_of

ROOT: Final = Path(__file__).parents[1]
ROWS: Final = 2000  # of a file
LONGEST: Final = 800  # seconds of a command on a machine that is busy, below TIMEOUT
TIMEOUT: Final = 900  # seconds of a test
# The refusal of a row whose column `count` has a null.
NULL: Final = f'"count": null, where the model takes a whole number from {-(2**63)} to {2**63 - 1}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    err: str

    @property
    def last(self) -> str:
        return self.err.rstrip().rpartition("\n")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Engines:
    """The interpreter that has Spark and Ray, and the variables that its processes need."""

    python: Path
    variables: Mapping[str, str]

    @contextmanager
    def running(self, *command: str | Path, log: Path, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
        """Yield a program whose output goes to the file `log`; at the end all its processes are killed."""
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command,
                stdout=stream,
                stderr=stream,
                cwd=log.parent,
                env={**self.variables, **variables},
                start_new_session=True,
            )
        try:
            yield process
        finally:
            for child in (*children_of(process.pid), process.pid):
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            process.wait()

    def run(self, *arguments: str | Path, directory: Path, **variables: str) -> Ended:
        """Run `model-api-runtime`."""
        log = directory / "log"
        with self.running(self.python, "-m", "serving_runtime", *arguments, log=log, **variables) as process:
            code = process.wait(LONGEST)
        return Ended(code=code, err=log.read_text(errors="replace"))


def installed_engines() -> Engines:
    """Return the environment, which is made if it is missing. Raises FileNotFoundError if there is no Java."""
    if shutil.which("java") is None:
        raise FileNotFoundError("Spark needs Java 17: `make packages-full` installs openjdk-17-jre-headless")
    python = python_of("engines")
    own = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"}
    # Ray would end its processes if others fill the memory of this machine.
    own["RAY_memory_monitor_refresh_ms"] = "0"
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RAY_", "SPARK_"))}
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return Engines(python=python, variables={**kept, **own, **quiet, "PATH": path})


def rows(first: int, count: int = ROWS) -> pa.Table:
    """Return rows with the ids from `first` on, and what the model `sum` predicts for them."""
    ids = np.arange(first, first + count)
    return pa.table(
        {"id": ids, "size": ids / 4, "count": ids % 7, "label": pa.array([f"row {number}" for number in ids])}
    )


def has_each_row_once(output: Path, files: int) -> bool:
    """Compare ids and predictions with those of the model `sum` for a table of so many files."""
    scored = parquet.read_table(output).sort_by("id")
    wanted = pa.concat_tables(rows(number * ROWS) for number in range(files))
    predictions = np.asarray(wanted["size"]) + np.asarray(wanted["count"])
    return bool(np.array_equal(scored["id"], wanted["id"]) and np.array_equal(scored["prediction"], predictions))


def write_partitions(directory: Path) -> None:
    """Write the rows of the first file, with their labels and counts in the names of directories."""
    for label, count in (("007", 3), ("8", 4)):
        place = directory / f"label={label}" / f"count={count}"
        place.mkdir(parents=True)
        parquet.write_table(rows(0).drop_columns(["label", "count"]), place / "part.parquet")


def partition_is_scored(output: Path) -> bool:
    """Compare the predictions of the model `sum` for the partition 007, and its label."""
    scored = parquet.read_table(output).sort_by("id")
    wanted = np.asarray(rows(0)["size"]) + 3
    return set(scored["label"].to_pylist()) == {"007"} and bool(np.array_equal(scored["prediction"], wanted))


def children_of(process: int) -> set[int]:
    """Return the processes below one, at any depth."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        parents[int(status.parent.name)] = int(fields[1])
    found, added = set[int](), {process}
    while added:
        found |= added
        added = {child for child, parent in parents.items() if parent in added and child not in found}
    return found - {process}


def command_of(process: int) -> str:
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def wait_for_batches(log: Path, count: int) -> None:
    """Wait until the models of the engine's processes have written of so many batches. Raises TimeoutError."""
    end = time.monotonic() + LONGEST
    while not log.exists() or log.read_text().count("batch") < count:
        if time.monotonic() > end:
            raise TimeoutError(f"the engine has not scored {count} batches after {LONGEST} s")
        time.sleep(0.1)
