"""A gate in front of each supported MLflow; each test makes its own models behind it."""

from collections.abc import Iterator

import pytest

from testbed.gate import Gate, gate
from testbed.lifecycle import Model, new_model
from testbed.mlflow_server import VERSIONS, MlflowServer


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"mlflow-{version}")
def any_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate in front of each version in turn."""
    server: MlflowServer = request.getfixturevalue(f"mlflow_{request.param.replace('.', '_')}")
    with gate(server, tmp_path_factory.mktemp(f"lifecycle-{request.param}"), "--attempts=100000") as found:
        yield found


@pytest.fixture(scope="session")
def gate_3(mlflow_3_17: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """The gate in front of MLflow 3, for tests in which the version makes no difference."""
    with gate(mlflow_3_17, tmp_path_factory.mktemp("lifecycle"), "--attempts=100000") as found:
        yield found


@pytest.fixture
def model(any_gate: Gate) -> Model:
    return new_model(any_gate)


@pytest.fixture
def model_3(gate_3: Gate) -> Model:
    return new_model(gate_3)
