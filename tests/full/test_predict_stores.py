"""`predict` from and into Google's and Azure's stores, against their emulators; S3 has each case in its own tests."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path, PurePosixPath

import pandas as pd
import pytest

from serving_runtime.tables.object_store import ObjectPath
from testbed.azure_server import ACCOUNT, KEY, azure_server
from testbed.environments import python_of
from testbed.gcs_server import gcs_server

SCRIPT = Path(__file__).parents[1] / "serving_runtime/scripts/save_models.py"
FRAME = pd.DataFrame({"id": ["1", "2"], "fixed acidity": [7.4, 6.3], "pH": [3.5, 3.2], "alcohol": [9.4, 10.1]})
BUCKET = "lake"


@contextmanager
def google(directory: Path) -> Iterator[Mapping[str, str]]:
    with gcs_server(directory, BUCKET) as address:
        yield {"STORAGE_EMULATOR_HOST": address}


@contextmanager
def azure(directory: Path) -> Iterator[Mapping[str, str]]:
    with azure_server(directory / "azure") as server:
        server.container(BUCKET)
        yield {
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": KEY,
            "AZURE_STORAGE_ENDPOINT": server.endpoint,
        }


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models")
    subprocess.run([python_of("mlflow-3.17"), SCRIPT, directory], check=True, capture_output=True, cwd=directory)
    return directory / "wine"


@pytest.mark.parametrize(("scheme", "emulator"), [("gs", google), ("az", azure)], ids=["google", "azure"])
def test_parts_of_a_store_are_those_of_a_directory(
    scheme: str,
    emulator: Callable[[Path], AbstractContextManager[Mapping[str, str]]],
    wine: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for day, suffix in (("1", "csv"), ("2", "parquet")):
        path = tmp_path / f"in/day={day}/a.{suffix}"
        path.parent.mkdir(parents=True)
        FRAME.to_csv(path, index=False) if suffix == "csv" else FRAME.to_parquet(path)
    lake = f"{scheme}://{BUCKET}"

    def predict(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        options: list[str | Path] = ["--model-path", wine, "--keep-columns", "id,day", "--output-format", "csv"]
        command = [sys.executable, "-m", "serving_runtime", "predict", *options, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def stored_at(name: str) -> ObjectPath:
        return ObjectPath(scheme, PurePosixPath(BUCKET) / name)

    with emulator(tmp_path) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        for path in sorted((tmp_path / "in").rglob("a.*")):
            with path.open("rb") as content:
                stored_at(str(path.relative_to(tmp_path))).upload(content)
        stored = predict(f"{lake}/in", "-o", f"{lake}/out/")
        again = predict(f"{lake}/in", "-o", f"{lake}/out/")
        missing = predict(f"{lake}/none.csv")
        parts = {name: stored_at(f"out/{name}").read() for name in ("day=1/a.csv", "day=2/a.csv")}
    local = predict(tmp_path / "in", "-o", f"{tmp_path}/out/")

    assert (stored.returncode, local.returncode) == (0, 0), stored.stderr + local.stderr
    assert "2 parts, 2 of them finished before" in again.stderr, again.stderr
    assert missing.returncode == 5, missing.stderr
    assert parts == {name: (tmp_path / "out" / name).read_bytes() for name in parts}
