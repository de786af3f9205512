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
    """A scikit-learn model, served by one process with a short read timeout and a small body limit."""
    flags = (*NATIVE, "--workers", "1", "--read-timeout", "1", "--max-body", "10K")
    with serving(models / "wine", *flags, log=tmp_path_factory.mktemp("wine") / "log") as server:
        yield server


@pytest.fixture(scope="session")
def sleeper(hard_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RuntimeServer]:
    """A model that takes as long as a request says, served by one process."""
    flags = ("--workers", "1", "--max-queue", "1", "--timeout", "2")
    with serving(hard_models / "sleeper", *flags, log=tmp_path_factory.mktemp("sleeper") / "log") as server:
        yield server


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start servers for one test."""
    with ExitStack() as stack:
        yield lambda model, *flags, **more: stack.enter_context(starting(model, *flags, log=tmp_path / "log", **more))
