"""The how-to about Spark and Ray, typed line by line. Its installation is the environment of the tests."""

import os
import shutil
import subprocess
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from testbed.engines import LONGEST, NULL, ROWS, TIMEOUT, Engines, has_each_row_once, rows
from testbed.pages import blocks

PAGE = "score-a-table-on-spark-and-ray"
FILES = 3
PROGRAM = "#!{python}\nimport sys\nfrom serving_runtime.cli import main\nsys.exit(main())\n"  # as pip writes it

pytestmark = pytest.mark.timeout(TIMEOUT)


class Reader:
    """A person with a model and a table, who types what the page says."""

    def __init__(self, engines: Engines, folder: Path) -> None:
        self._engines, self._folder = engines, folder

    def types(self, text: str, shell: bool = True) -> str:
        """Return the output of commands, or of a program in Python. Raises AssertionError if they fail."""
        command = ["/bin/bash", "-euo", "pipefail", "-c"] if shell else [self._engines.python, "-c"]
        path = f"{self._folder / 'bin'}{os.pathsep}{self._engines.variables['PATH']}"
        done = subprocess.run(
            [*command, text],
            env={**self._engines.variables, "PATH": path},
            cwd=self._folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LONGEST,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def has(self, output: str) -> bool:
        """Return True if an output has each row of the table once."""
        return has_each_row_once(self._folder / output, FILES)


@pytest.fixture
def reader(engines: Engines, engine_models: Path, tmp_path: Path) -> Reader:
    shutil.copytree(engine_models / "sum", tmp_path / "model")
    for folder in ("wines", "bin"):
        (tmp_path / folder).mkdir()
    for number in range(FILES):
        parquet.write_table(rows(number * ROWS), tmp_path / "wines" / f"{number}.parquet")
    for name in ("model-api-runtime", "model-api-runtime.py"):
        program = tmp_path / "bin" / name
        program.write_text(PROGRAM.format(python=engines.python))
        program.chmod(0o755)
    return Reader(engines, tmp_path)


def test_commands_of_the_page_score_on_spark(reader: Reader) -> None:
    _, on_this_machine, submitted, _ = blocks(PAGE, "On Spark")
    (program,) = blocks(PAGE, "On Spark", "python")
    reader.types(on_this_machine)
    reader.types(submitted)

    assert reader.has("scored")
    assert reader.has("scored-by-two")
    assert "prediction" in reader.types(program, shell=False)


def test_commands_of_the_page_score_on_ray(reader: Reader, tmp_path: Path) -> None:
    _, on_this_machine, _ = blocks(PAGE, "On Ray")
    (program,) = blocks(PAGE, "On Ray", "python")
    reader.types(on_this_machine)

    assert reader.has("scored-by-ray")
    assert "prediction" in reader.types(program, shell=False)

    refused = rows(0, 1).set_column(2, "count", pa.array([None], pa.int64()))
    parquet.write_table(refused, tmp_path / "wines" / "refused.parquet")
    (with_problems,) = blocks(PAGE, "Rows that cannot be scored")
    reader.types(with_problems)

    problems = parquet.read_table(tmp_path / "with-problems")["problem"].drop_null().to_pylist()
    assert len(problems) == 1
    assert NULL in problems[0]
