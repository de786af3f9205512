"""The example project in front of each supported MLflow: its notebooks, executed once by a person of the project."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from testbed.domino import Domino, domino
from testbed.environments import python_of
from testbed.gate import API, PASSWORD, PROJECT, Gate, Json, gate
from testbed.mlflow_server import MlflowServer, client_environment
from testbed.notebooks import PROJECT_FOLDER, executed
from testbed.webhook_server import webhook_server

NAME = "wine-quality"
# With MLflow 2 they are run by somebody who has two projects, and says in the variable of Domino's workspaces which one
# is meant.
PEOPLE = {"3.17": "jane", "2.22": "both"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """An executed notebook, and the gate that it spoke to."""

    notebook: Any
    gate: Gate

    @property
    def person(self) -> str:
        return PEOPLE[self.gate.server.version]

    def get(self, path: str) -> Json:
        """Read from MLflow as Jane."""
        return self.gate.ask("GET", f"{API}/{path}", headers=self.gate.basic("jane")).json

    def version(self) -> Json:
        found: Json = self.get(f"model-versions/get?name={NAME}&version=1")["model_version"]
        return found

    def tags(self) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.version()["tags"]}


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged(Executed):
    """A staging notebook that was executed, and the Domino that made its model API."""

    domino: Domino


@pytest.fixture(scope="session", params=["3.17", "2.22"], ids=lambda version: f"mlflow-{version}")
def any_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    server: MlflowServer = request.getfixturevalue(f"mlflow_{request.param.replace('.', '_')}")
    with gate(server, tmp_path_factory.mktemp(f"gate-{request.param}")) as found:
        yield found


@pytest.fixture(scope="session")
def trained(any_gate: Gate) -> Executed:
    # The client of MLflow 3 cannot log a model to a server of version 2.
    two = any_gate.server.version == "2.22"
    project = {"DOMINO_PROJECT_ID": PROJECT} if two else {}
    python = python_of("mlflow-2.22") if two else Path(sys.executable)
    notebook = executed(PROJECT_FOLDER / "mlflow-model.ipynb", person(any_gate) | project, python=python)
    return Executed(notebook=notebook, gate=any_gate)


@pytest.fixture(scope="session")
def staged(trained: Executed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Staged]:
    directory, found = tmp_path_factory.mktemp("staged"), trained.gate
    with (
        webhook_server(directory / "webhook", {"MODEL_API_WEBHOOK_TRACKING_URI": found.uri}) as webhook,
        domino(directory / "domino", gate=found, webhook=webhook) as installation,
    ):
        notebook = executed(PROJECT_FOLDER / "deploy-to-staging.ipynb", person(found) | installation.environ())
        yield Staged(notebook=notebook, gate=found, domino=installation)


def person(found: Gate) -> dict[str, str]:
    """The environment of a notebook."""
    own = {"MLFLOW_TRACKING_USERNAME": PEOPLE[found.server.version], "MLFLOW_TRACKING_PASSWORD": PASSWORD}
    return client_environment() | {"MLFLOW_TRACKING_URI": found.uri} | own
