"""Models of every kind, saved by full MLflow of both versions, and the answers of MLflow's own scoring server."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving_runtime.model import Model, load
from testbed.environments import python_of

SCRIPTS = Path(__file__).parent / "scripts"


def saved_by(version: str, directory: Path, script: str = "save_models.py") -> Path:
    command = [python_of(f"mlflow-{version}"), SCRIPTS / script, directory]
    subprocess.run(command, check=True, capture_output=True, cwd=directory)
    return directory


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of models, saved by MLflow 3.17."""
    return saved_by("3.17", tmp_path_factory.mktemp("models-3.17"))


@pytest.fixture(scope="session")
def older_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same models, saved by MLflow 2.22."""
    return saved_by("2.22", tmp_path_factory.mktemp("models-2.22"))


@pytest.fixture(scope="session")
def example_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model of each kind of signature, each with its example, saved by MLflow 3.17."""
    return saved_by("3.17", tmp_path_factory.mktemp("example-models"), "save_example_models.py")


@pytest.fixture(scope="session")
def model(models: Path) -> Callable[[str], Model]:
    """Loads one of them, once."""
    loaded: dict[str, Model] = {}

    def get(name: str) -> Model:
        if name not in loaded:
            loaded[name] = load(models / name)
        return loaded[name]

    return get


@pytest.fixture(scope="session")
def ask_mlflow(models: Path) -> Callable[[list[tuple[str, str, str]]], list[dict[str, Any]]]:
    """Return the answers of MLflow 3.17 to requests of model, content type and body."""

    def ask(requests: list[tuple[str, str, str]]) -> list[dict[str, Any]]:
        command = [python_of("mlflow-3.17"), SCRIPTS / "ask_mlflow.py", models]
        done = subprocess.run(
            command, input=json.dumps(requests), capture_output=True, text=True, check=True, cwd=models
        )
        answers: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
        return answers

    return ask


@pytest.fixture
def with_refused_example(models: Path, tmp_path: Path) -> Path:
    """A model with the type hint list[int], whose example is read and sent to it, and then refused by the hint."""
    directory = Path(shutil.copytree(models / "hinted", tmp_path / "hinted"))
    (directory / "serving_input_example.json").write_text('{"inputs": ["secret"]}')
    document = (directory / "MLmodel").read_text()
    if "saved_input_example_info" not in document:
        (directory / "MLmodel").write_text(
            document + "saved_input_example_info: {serving_input_path: serving_input_example.json}\n"
        )
    return directory
