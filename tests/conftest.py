"""Real MLflow servers, each started once per run, when the first test needs it, and the settings of hypothesis."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from testbed.cluster.kube import unavailable_reason
from testbed.mlflow_server import MlflowServer, mlflow_server

# An example may take any time on a machine with other work. The parent is hypothesis' own profile, another one in CI.
settings.register_profile("unhurried", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session")
def mlflow_3_17(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server("3.17", tmp_path_factory.mktemp("mlflow-3.17")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_3_18(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server("3.18", tmp_path_factory.mktemp("mlflow-3.18")) as server:
        yield server


@pytest.fixture(scope="session")
def mlflow_2_22(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    with mlflow_server("2.22", tmp_path_factory.mktemp("mlflow-2.22")) as server:
        yield server


def pytest_report_header() -> str:
    reason = unavailable_reason()
    return f"the cluster's tests are left out: {reason}" if reason else "the cluster's tests run"
