"""The example project in front of each supported MLflow, behind the gate."""

from collections.abc import Iterator

import pytest

from testbed.gate import Gate, gate
from testbed.mlflow_server import MlflowServer


@pytest.fixture(scope="session", params=["3.17", "2.22"], ids=lambda version: f"mlflow-{version}")
def any_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    server: MlflowServer = request.getfixturevalue(f"mlflow_{request.param.replace('.', '_')}")
    with gate(server, tmp_path_factory.mktemp(f"gate-{request.param}")) as found:
        yield found
