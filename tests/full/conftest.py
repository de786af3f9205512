"""Models and tables for the tests of Spark and Ray, and the S3 server of the delivery's tests."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from pyarrow import parquet

from testbed.engines import ROWS, Engines, installed_engines, rows
from tests.model_delivery.test_object_stores import on_s3, s3_models  # noqa: F401  fixtures


@pytest.fixture(scope="session")
def engines() -> Engines:
    return installed_engines()


@pytest.fixture(scope="session")
def engine_models(engines: Engines, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of the models that `save_engine_models.py` saves."""
    directory = tmp_path_factory.mktemp("engine-models")
    script = Path(__file__).parent / "scripts" / "save_engine_models.py"
    subprocess.run([engines.python, script, directory], check=True, capture_output=True, cwd=directory)
    return directory


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
