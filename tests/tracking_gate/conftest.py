"""Gates in front of each supported MLflow; each test makes its own models."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_contract.tokens import Purpose
from testbed.environments import printed, python_of
from testbed.gate import API, Answer, Gate, Json, ask, gate
from testbed.mlflow_server import MODULES, NEWEST, MlflowServer, client_environment
from testbed.processes import JsonLines, json_lines

GATED = (NEWEST, "2.22")
NUMBERS = itertools.count(1)
READER = Path(__file__).parents[2] / "testbed" / "mlflow_scripts" / "download_artifacts.py"
ROUTES_SCRIPT = Path(__file__).parents[2] / "testbed" / "mlflow_scripts" / "list_routes.py"


@pytest.fixture(scope="session", params=GATED, ids=lambda version: f"mlflow-{version}")
def any_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Return a gate in front of each version in turn, with a limit on attempts that no test reaches."""
    server: MlflowServer = request.getfixturevalue(f"mlflow_{request.param.replace('.', '_')}")
    with gate(server, tmp_path_factory.mktemp(f"gate-{request.param}"), "--attempts=100000") as found:
        yield found


@pytest.fixture(scope="session")
def gate_3(mlflow_3_18: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """Return a gate in front of MLflow 3, for tests in which the version makes no difference."""
    with gate(mlflow_3_18, tmp_path_factory.mktemp("gate"), "--attempts=100000") as found:
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """MLflow's client of one version, in a process that all tests share."""

    process: JsonLines

    def read(self, uri: str, artifacts: str, token: str = "") -> Json:
        """Return the digests of the artifacts' files, read from the MLflow or the gate at `uri`, or the error."""
        return self.process.ask({"tracking": uri, "uri": artifacts, "token": token})


@pytest.fixture(scope="session")
def clients() -> Iterator[list[Client]]:
    """Return MLflow's client of each version."""
    # Without it, a client sends a request that fails again and again, for four minutes.
    environment = client_environment() | {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    environment["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with ExitStack() as stack:
        yield [
            Client(
                process=stack.enter_context(json_lines([python_of(f"mlflow-{version}"), READER], MODULES, environment))
            )
            for version in GATED
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wine:
    """A registered model of Jane's project, with its run."""

    gate: Gate
    name: str
    experiment: str
    run: str

    def version(self) -> str:
        """Register one more version."""
        body = {"name": self.name, "source": f"runs:/{self.run}/model", "run_id": self.run}
        made = self.gate.ask("POST", f"{API}/model-versions/create", body, self.gate.basic("jane"))
        return str(made.json["model_version"]["version"])

    def move(self, version: str, stage: str, who: dict[str, str], **fields: object) -> Answer:
        body = {"name": self.name, "version": version, "stage": stage, **fields}
        return self.gate.ask("POST", f"{API}/model-versions/transition-stage", body, who)

    def promoted(self) -> str:
        """Register a version and move it to Production."""
        version = self.version()
        assert self.move(version, "Staging", self.gate.basic("jane")).status == 200
        assert (
            self.move(version, "Production", self.gate.bearer(Purpose.PROMOTE), archive_existing_versions=True).status
            == 200
        )
        return version

    def stage(self, version: str) -> str:
        """Return the stage, read from MLflow directly."""
        return str(self.raw(version)["current_stage"])

    def raw(self, version: str) -> Json:
        found: Json = ask(
            self.gate.server.uri, "GET", f"{API}/model-versions/get?name={self.name}&version={version}"
        ).json["model_version"]
        return found

    def delete(self) -> None:
        """Delete the model in MLflow, past the gate: some checks of the gate read every model that there is."""
        ask(self.gate.server.uri, "DELETE", f"{API}/registered-models/delete", {"name": self.name})

    @property
    def directory(self) -> str:
        return f"{self.experiment}/{self.run}/artifacts"

    def put(self, path: str, content: bytes, who: dict[str, str]) -> Answer:
        return self.gate.ask("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", content, who)


def wine_behind(found: Gate, prefix: str = "wine") -> Wine:
    """Make a new model with files; its name begins with `prefix`."""
    jane, name = found.basic("jane"), f"{prefix}-{next(NUMBERS)}"
    experiment = str(found.ask("POST", f"{API}/experiments/create", {"name": name}, jane).json["experiment_id"])
    run = str(
        found.ask("POST", f"{API}/runs/create", {"experiment_id": experiment, "start_time": 1}, jane).json["run"][
            "info"
        ]["run_id"]
    )
    wine = Wine(gate=found, name=name, experiment=experiment, run=run)
    assert wine.put(f"{wine.directory}/model/MLmodel", b"flavors: {}\n", jane).status == 200
    assert found.ask("POST", f"{API}/registered-models/create", {"name": name}, jane).status == 200
    return wine


@pytest.fixture
def wine(any_gate: Gate) -> Iterator[Wine]:
    found = wine_behind(any_gate)
    yield found
    found.delete()


@pytest.fixture
def wine_3(gate_3: Gate) -> Iterator[Wine]:
    found = wine_behind(gate_3)
    yield found
    found.delete()


@pytest.fixture(scope="session")
def mlflow_routes(any_gate: Gate) -> list[tuple[str, str]]:
    """Return each method and path of MLflow's own table of routes, with an example for each variable."""
    found = [
        (method, example(path))
        for method, path in json.loads(printed(any_gate.server.version, ROUTES_SCRIPT))
        if method != "OPTIONS"
    ]
    assert len(found) > 150
    return found


def example(path: str) -> str:
    """Return a path that matches a route's pattern."""
    return re.sub(r"<(?:\w+:)?[\w.]+>|\{[\w.]+\}", "m-1", re.sub(r"<path:\w+>|\{\w+:path\}", "1/x", path))
