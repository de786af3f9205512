"""Real MLflow servers of both versions with a model for each layout of files, and a store to fetch them into."""

import json
from pathlib import Path

import pytest

from testbed.delivery import Delivery
from testbed.mlflow_server import VERSIONS, MlflowServer
from testbed.registered import Registered

SCRIPTS = Path(__file__).parent / "scripts"


def _register(server: MlflowServer) -> Registered:
    output = server.run(SCRIPTS / "register_models.py", str(server.artifacts))
    return Registered(server=server, versions=json.loads(output.splitlines()[-1]))


@pytest.fixture(scope="session")
def mlflow_3(mlflow_3_17: MlflowServer) -> Registered:
    return _register(mlflow_3_17)


@pytest.fixture(scope="session")
def mlflow_2(mlflow_2_22: MlflowServer) -> Registered:
    return _register(mlflow_2_22)


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"mlflow-{version}")
def mlflow_any(request: pytest.FixtureRequest) -> Registered:
    """Each supported server in turn."""
    registered: Registered = request.getfixturevalue(f"mlflow_{request.param[0]}")
    return registered


@pytest.fixture
def delivery(tmp_path: Path, mlflow_3: Registered) -> Delivery:
    """An empty store, to be filled from MLflow 3."""
    return Delivery(directory=tmp_path, uri=mlflow_3.uri)
