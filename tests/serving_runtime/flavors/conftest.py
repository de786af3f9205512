"""Models of every flavor, saved once by the full MLflow of both versions, and served all at once."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from testbed.environments import saved_models
from testbed.runtime_server import RuntimeServer, starting

SCRIPT = Path(__file__).parent / "scripts" / "save_flavors.py"
FLAVORS = {
    "3.17": ("scikit-learn-skops", "scikit-learn-cloudpickle", "xgboost", "lightgbm", "code", "onnx", "chat"),
    "2.22": ("forest", "code", "chat"),
}
# As on a machine with more processors than workers: what reads a model with several threads may not be forked then.
SEVERAL_THREADS = {"OMP_NUM_THREADS": "2"}
EVERY = [(version, name) for version, names in FLAVORS.items() for name in names]
ServedModel = Callable[[str, str], tuple[Path, RuntimeServer]]


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A directory of models by the version of MLflow that saved them."""
    return {
        version: saved_models(version, SCRIPT, tmp_path_factory.mktemp(f"flavors-{version}")) for version in FLAVORS
    }


@pytest.fixture(scope="module")
def served(saved: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedModel]:
    """The directory of a model, and its server: they load side by side, and are asked one after the other."""
    logs = tmp_path_factory.mktemp("flavors")
    with ExitStack() as stack:
        servers = {
            (version, name): stack.enter_context(
                starting(
                    saved[version] / name, "--workers", "1", log=logs / f"{version}-{name}", environ=SEVERAL_THREADS
                )
            )
            for version, name in EVERY
        }
        for server in servers.values():
            server.process.wait_for_http(f"{server.url}/readyz", seconds=200)
        yield lambda version, name: (saved[version] / name, servers[version, name])
