"""Scoring on Spark: each row once, also if an executor is lost; refusals with their places."""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from pyarrow import parquet

from testbed.engines import (
    LONGEST,
    NULL,
    ROWS,
    TIMEOUT,
    Engines,
    children_of,
    command_of,
    has_each_row_once,
    rows,
    wait_for_batches,
)

pytestmark = pytest.mark.timeout(TIMEOUT)
LOCAL = ("predict", "--engine", "spark", "--address", "local[2]")
Table = Callable[[int], Path]


def test_command_scores_each_row_once_and_keeps_columns(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    log = tmp_path / "model.log"

    ended = engines.run(
        *LOCAL, "--model-path", engine_models / "sum", table(3), "-o", tmp_path / "out", "--keep-columns", "id",
        directory=tmp_path, MODEL_LOG=str(log),
    )  # fmt: skip

    assert ended.code == 0, ended.err
    assert re.fullmatch(r"6,000 rows in [\d.]+ s; [\d,]+ rows a second", ended.last)
    assert has_each_row_once(tmp_path / "out", 3)
    loads = [line.split()[1] for line in log.read_text().splitlines() if line.startswith("load")]
    assert len(loads) == len(set(loads)) <= 2  # one for each Python process


def test_lost_executor_loses_no_row_under_spark_submit(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    log = tmp_path / "model.log"
    program = tmp_path / "model-api-runtime.py"  # as pip writes it
    program.write_text("import sys\nfrom serving_runtime.cli import main\nsys.exit(main())\n")
    submit: list[str | Path] = [engines.python.parent / "spark-submit", "--master", "local-cluster[2,1,1024]"]
    small = ["--conf", "spark.sql.files.maxPartitionBytes=20000"]  # a task for each file
    command: list[str | Path] = ["predict", "--engine", "spark", "--model-path", engine_models / "sum", table(8)]
    with engines.running(
        *submit, *small, program, *command, "-o", tmp_path / "out", "--keep-columns", "id", "--chunk-rows", "500",
        log=tmp_path / "log", MODEL_LOG=str(log), MODEL_SECONDS="0.5",
    ) as process:  # fmt: skip
        wait_for_batches(log, 4)
        executors = [one for one in children_of(process.pid) if "CoarseGrainedExecutorBackend" in command_of(one)]
        busy = int(log.read_text().split()[-2])  # a Python process of one of them
        os.kill(next(one for one in executors if busy in children_of(one)), signal.SIGKILL)
        code = process.wait(LONGEST)

    told = (tmp_path / "log").read_text(errors="replace")
    shutil.rmtree(spark_home(engines) / "work", ignore_errors=True)  # which a local cluster leaves behind
    assert code == 0, told
    assert (len(executors), "Lost executor" in told) == (2, True)
    assert has_each_row_once(tmp_path / "out", 8)
    assert (tmp_path / "out" / "_SUCCESS").exists()
    loads = [line.split()[2] for line in log.read_text().splitlines() if line.startswith("load")]
    assert all("/model-" in path and str(engine_models) not in path for path in loads)  # they were delivered
    assert len(loads) == len(set(loads))  # once to each executor, of one processor each


def spark_home(engines: Engines) -> Path:
    code = "import pyspark; print(pyspark.__path__[0])"
    return Path(subprocess.run([engines.python, "-c", code], capture_output=True, text=True, check=True).stdout.strip())


def test_row_that_is_refused_is_named_with_its_file(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory = table(2)
    odd = rows(0).set_column(2, "count", pa.array([None if row == 1234 else row for row in range(ROWS)]))
    parquet.write_table(odd, directory / "part-1.parquet")

    ended = engines.run(
        *LOCAL, "--model-path", engine_models / "sum", directory, "-o", tmp_path / "out", directory=tmp_path
    )

    assert ended.code == 3, ended.err
    assert ended.last == (f"error: file:{directory}/part-1.parquet: row 1235: {NULL}")
    assert not (tmp_path / "out" / "_SUCCESS").exists()
    assert not list((tmp_path / "out").glob("*.parquet"))


def test_column_that_changes_its_type_in_the_last_file_ends_the_command_before_a_row_is_scored(
    engines: Engines, engine_models: Path, table: Table, tmp_path: Path
) -> None:
    directory, log = table(2), tmp_path / "model.log"
    parquet.write_table(
        rows(0).set_column(1, "size", pa.array([str(row) for row in range(ROWS)])), directory / "part-1.parquet"
    )

    ended = engines.run(
        *LOCAL, "--model-path", engine_models / "sum", directory, "-o", tmp_path / "out", directory=tmp_path,
        MODEL_LOG=str(log),
    )  # fmt: skip

    assert ended.code == 3, ended.err
    assert re.fullmatch(
        r'error: file:.*/part-[01]\.parquet: the column "size" is (string|double), and (string|double) in others',
        ended.last,
    )
    assert not log.exists()
    assert not (tmp_path / "out").exists()


def test_model_without_outputs_needs_a_result_type(engines: Engines, engine_models: Path, tmp_path: Path) -> None:
    parquet.write_table(rows(0), tmp_path / "rows.parquet")

    ended = engines.run(
        *LOCAL, "--model-path", engine_models / "unsaid", tmp_path / "rows.parquet", "-o", tmp_path / "out",
        directory=tmp_path,
    )  # fmt: skip

    assert (ended.code, ended.last[:54]) == (3, "error: the model's signature does not say what it pred"), ended.err
