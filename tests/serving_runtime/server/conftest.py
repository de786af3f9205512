"""Real servers: the command as a process, with models that were saved by the full MLflow 3.17."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.environments import saved_models
from testbed.runtime_server import NATIVE, RuntimeServer, serving, starting

SCRIPTS = Path(__file__).parent / "scripts"
Start = Callable[..., RuntimeServer]


@pytest.fixture(scope="session")
def hard_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models that make trouble for a server."""
    return saved_models("3.17", SCRIPTS / "save_models.py", tmp_path_factory.mktemp("hard-models"))


@pytest.fixture(scope="session")
def wine(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    """A scikit-learn model, served by one process with a small body limit."""
    flags = (*NATIVE, "--workers", "1", "--read-timeout", "120", "--max-body", "10K")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("wine") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def impatient(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    """The same model, served with a short read timeout."""
    flags = (*NATIVE, "--workers", "1", "--read-timeout", "2")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("impatient") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def sleeper(hard_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    """A model that waits for the port that a request names, served by one process, in which one request may wait."""
    flags = ("--workers", "1", "--max-queue", "1")
    with serving(hard_models / "sleeper", *flags, log=tmp_path_factory.mktemp("sleeper") / "log", grpc=True) as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers for one test."""
    with ExitStack() as stack:
        yield lambda model, *flags, **more: stack.enter_context(starting(model, *flags, log=tmp_path / "log", **more))
