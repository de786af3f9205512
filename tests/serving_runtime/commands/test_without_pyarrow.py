"""`predict` on a machine without pyarrow: CSV goes cell by cell, and Parquet ends with the extra to install."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from testbed.processes import completed
from testbed.runtime_server import WITHOUT_PYARROW

BLOCKED = "import sys; sys.modules['pyarrow'] = None; from serving_runtime.cli import main; sys.exit(main())"
SENTENCE = (
    "the package pyarrow is not installed; install the extra tables: "
    "pip install '.[tables]' in a checkout, or pip install 'mlflow-model-api[tables]' from your package index\n"
)
HEADER = "fixed acidity,pH,alcohol\n"


def predicted(*arguments: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, "predict", *arguments]
    return completed(command, env=os.environ, imported=WITHOUT_PYARROW, given=text)


def test_csv_is_scored(models: Path) -> None:
    done = predicted("--model-path", models / "wine", text=f"{HEADER}7.4,3.5,9.4\n")

    assert (done.returncode, len(done.stdout.splitlines())) == (0, 2)


@pytest.mark.parametrize(("kind", "suffix"), [("Parquet", "parquet"), ("Arrow", "feather")])
def test_table_to_read_names_the_extra(kind: str, suffix: str, models: Path, tmp_path: Path) -> None:
    source = tmp_path / f"rows.{suffix}"
    frame = pd.DataFrame({"fixed acidity": [7.4], "pH": [3.5], "alcohol": [9.4]})
    (frame.to_parquet if kind == "Parquet" else frame.to_feather)(source)

    done = predicted("--model-path", models / "wine", source)

    assert (done.returncode, done.stderr) == (3, f"error: {kind} cannot be read: {SENTENCE}")


@pytest.mark.parametrize("name", ["out.parquet", "out.pq"])
def test_parquet_to_write_names_the_extra(name: str, models: Path, tmp_path: Path) -> None:
    done = predicted("--model-path", models / "wine", "-o", tmp_path / name, text=f"{HEADER}7.4,3.5,9.4\n")

    assert (done.returncode, done.stderr) == (3, f"error: Parquet cannot be written: {SENTENCE}")
    assert list(tmp_path.iterdir()) == []


def test_object_store_names_the_extra(models: Path) -> None:
    done = predicted("--model-path", models / "wine", "s3://lake/rows.csv")

    assert (done.returncode, done.stderr) == (3, f"error: s3://lake/rows.csv cannot be used: {SENTENCE}")
