"""A project behind a gate: its models, and the commands that move them, run as their users run them."""

import itertools
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model_contract.tokens import Purpose
from testbed.gate import API, PROJECT, Gate, ask, gate
from testbed.mlflow_server import VERSIONS, MlflowServer
from testbed.processes import installed

NUMBERS = itertools.count(1)
Json = dict[str, Any]


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"mlflow-{version}")
def any_gate(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """In front of each version in turn."""
    server: MlflowServer = request.getfixturevalue(f"mlflow_{request.param.replace('.', '_')}")
    with gate(server, tmp_path_factory.mktemp(f"lifecycle-{request.param}"), "--attempts=100000") as found:
        yield found


@pytest.fixture(scope="session")
def gate_3(mlflow_3_17: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """In front of MLflow 3, where the version makes no difference."""
    with gate(mlflow_3_17, tmp_path_factory.mktemp("lifecycle"), "--attempts=100000") as found:
        yield found


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model of a project; its versions are of runs of their own, with files."""

    gate: Gate
    name: str
    experiment: str
    project: str = PROJECT

    def version(self, content: bytes = b"flavors: {}\n") -> str:
        """One more, as somebody of the project registers it."""
        jane = self.gate.basic("both")
        run = self.post("runs/create", {"experiment_id": self.experiment, "start_time": 1}, jane)["run"]["info"]
        path = f"/api/2.0/mlflow-artifacts/artifacts/{self.experiment}/{run['run_id']}/artifacts/model/MLmodel"
        assert self.gate.ask("PUT", path, content, jane).status == 200
        body = {"name": self.name, "source": f"runs:/{run['run_id']}/model", "run_id": run["run_id"]}
        return str(self.post("model-versions/create", body, jane)["model_version"]["version"])

    def staged(self) -> str:
        number = self.version()
        self.post("model-versions/transition-stage", {"name": self.name, "version": number, "stage": "Staging"}, self.gate.basic("both"))
        return number

    def post(self, path: str, body: Json, who: Mapping[str, str]) -> Json:
        answer = self.gate.ask("POST", f"{API}/{path}", body, who)
        assert answer.status == 200, answer.body
        return answer.json

    def state(self) -> Json:
        """Asked of MLflow itself: the stage of each version, the aliases, and the promotion's tags."""
        return state_of(self.gate.server.uri, self.name)

    def files(self, number: str) -> Path:
        """Of a version, on the server's disk."""
        raw = ask(self.gate.server.uri, "GET", f"{API}/model-versions/get?name={self.name}&version={number}").json["model_version"]
        return self.gate.server.artifacts / self.experiment / raw["run_id"] / "artifacts" / "model"


def state_of(uri: str, name: str) -> Json:
    versions = ask(uri, "GET", f"{API}/model-versions/search?filter=name%3D%27{name}%27").json.get("model_versions", [])
    model = ask(uri, "GET", f"{API}/registered-models/get?name={name}").json["registered_model"]
    return {
        "stages": {str(found["version"]): found["current_stage"] for found in versions},
        "aliases": {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])},
        "tags": {
            str(found["version"]): {tag["key"]: tag["value"] for tag in found.get("tags", []) if tag["key"].startswith("promotion.")}
            for found in versions
        },
    }


def new_model(found: Gate, project: str = PROJECT) -> Model:
    who, name = found.basic("both"), f"model-{next(NUMBERS)}"
    tags = [{"key": "mlflow.domino.project_id", "value": project}]
    experiment = found.ask("POST", f"{API}/experiments/create", {"name": name, "tags": tags}, who).json["experiment_id"]
    assert found.ask("POST", f"{API}/registered-models/create", {"name": name, "tags": tags}, who).status == 200
    return Model(gate=found, name=name, experiment=str(experiment), project=project)


@pytest.fixture
def model(any_gate: Gate) -> Model:
    return new_model(any_gate)


@pytest.fixture
def model_3(gate_3: Gate) -> Model:
    return new_model(gate_3)


def write_file(path: Path, *entries: tuple[Model, str], **more: str) -> Path:
    """A promotion file with these versions of these models."""
    document: dict[str, list[Json]] = {}
    for model, number in entries:
        document.setdefault(model.project, []).append({"name": model.name, "version": int(number), **more})
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(found: Gate, project: str = PROJECT, purpose: Purpose = Purpose.PROMOTE, uri: str | None = None) -> dict[str, str]:
    """What CI sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GITHUB_"))}
    return kept | {
        "MLFLOW_TRACKING_URI": uri or found.uri,
        "MLFLOW_TRACKING_TOKEN": found.token(purpose, project),
        "GITHUB_ACTOR": "octocat",
    }


def run(env: Mapping[str, str], *arguments: str | Path) -> Done:
    """`model-api` with these arguments."""
    done = subprocess.run([installed("model-api"), *arguments], env=dict(env), capture_output=True, text=True, check=False)
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)
