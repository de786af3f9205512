"""Models, tables and commands for the tests of Spark and Ray, in an environment that has both."""

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from testbed.environments import python_of

ROOT = Path(__file__).parents[2]
ROWS = 2000  # of a file


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

    def start(self, *arguments: str | Path, log: Path, **variables: str) -> subprocess.Popen[bytes]:
        """Start `model-api-runtime`, whose standard error goes to the file `log`."""
        return self.popen(self.python, "-m", "serving_runtime", *arguments, log=log, **variables)

    def popen(self, *command: str | Path, log: Path, **variables: str) -> subprocess.Popen[bytes]:
        with log.open("wb") as stream:
            return subprocess.Popen(
                command, stdout=stream, stderr=stream, cwd=log.parent, env={**self.variables, **variables}
            )

    def run(self, *arguments: str | Path, directory: Path, **variables: str) -> Ended:
        log = directory / "log"
        process = self.start(*arguments, log=log, **variables)
        return Ended(code=process.wait(280), err=log.read_text(errors="replace"))


@pytest.fixture(scope="session")
def engines() -> Engines:
    python = python_of("engines")
    own = {"PYTHONPATH": str(ROOT), "PYSPARK_PYTHON": str(python), "SPARK_LOCAL_IP": "127.0.0.1"}
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1", "PYTHONWARNINGS": "ignore"}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "RAY_", "SPARK_"))}
    path = f"{python.parent}{os.pathsep}{os.environ['PATH']}"
    return Engines(python=python, variables={**kept, **own, **quiet, "PATH": path})


@pytest.fixture(scope="session")
def engine_models(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("engine-models")
    script = Path(__file__).parent / "scripts" / "save_engine_models.py"
    subprocess.run([engines.python, script, directory], check=True, capture_output=True, cwd=directory)
    return directory


def rows(first: int, count: int = ROWS) -> pa.Table:
    """Return rows with the ids from `first` on, and what the model `sum` predicts for them."""
    ids = np.arange(first, first + count)
    return pa.table(
        {"id": ids, "size": ids / 4, "count": ids % 7, "label": pa.array([f"row {number}" for number in ids])}
    )


@pytest.fixture
def table(tmp_path: Path) -> Callable[[int], Path]:
    """Write a directory of so many files."""

    def written(files: int) -> Path:
        directory = tmp_path / "rows"
        directory.mkdir()
        for number in range(files):
            parquet.write_table(rows(number * ROWS), directory / f"part-{number}.parquet")
        return directory

    return written


def expect_each_row_once(output: Path, files: int) -> None:
    """Check ids and predictions of the model `sum` over a table of so many files."""
    scored = parquet.read_table(output).sort_by("id")
    ids = np.arange(files * ROWS)

    assert scored.column("id").to_pylist() == ids.tolist()
    assert scored.column("prediction").to_pylist() == (ids / 4 + ids % 7).tolist()


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


if sys.platform != "linux":
    raise RuntimeError("these tests read /proc")
