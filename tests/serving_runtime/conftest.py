"""Models of every kind, saved by full MLflow of both versions, and the answers of MLflow's own scoring server."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from serving_runtime.model import Model, load
from testbed.environments import python_of, saved_models
from testbed.mlflow_server import MODULES
from testbed.processes import json_lines

SCRIPTS = Path(__file__).parent / "scripts"


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of models, saved by MLflow 3.17."""
    return saved_models("3.17", SCRIPTS / "save_models.py", tmp_path_factory.mktemp("models-3.17"))


@pytest.fixture(scope="session")
def older_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same models, saved by MLflow 2.22."""
    return saved_models("2.22", SCRIPTS / "save_models.py", tmp_path_factory.mktemp("models-2.22"))


@pytest.fixture(scope="session")
def example_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a model of each kind of signature, each with its example, saved by MLflow 3.17."""
    return saved_models("3.17", SCRIPTS / "save_example_models.py", tmp_path_factory.mktemp("example-models"))


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
def ask_mlflow(models: Path) -> Iterator[Callable[[tuple[str, str, str]], dict[str, Any]]]:
    """Return the answer of MLflow 3.17 to a request of model, content type and body."""
    with json_lines([python_of("mlflow-3.17"), SCRIPTS / "ask_mlflow.py", models], MODULES) as mlflow:
        yield mlflow.ask


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
