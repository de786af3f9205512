"""Two versions beside each other: the former one, in an environment of its own, and this one.

Each test runs twice: the former version is the first to act and this one goes on (an upgrade), and the other way round.
"""

import itertools
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_contract.model_ref import ModelRef
from model_contract.token_keys import TokenKey
from model_contract.tokens import Purpose
from testbed.former_version import Version, environment, former_version, this_version
from testbed.gate import API, OTHER, PASSWORD, PEOPLE, PROJECT, Gate, Json, ask
from testbed.mlflow_server import MlflowServer
from testbed.processes import free_port, running

SCRIPTS = Path(__file__).parent / "scripts"
OWNER = "jane.doe"
NUMBERS = itertools.count(1)
PROXY = "/api/2.0/mlflow-artifacts/artifacts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An upgrade, or the way back: `first` made the state that `then` goes on with."""

    first: Version
    then: Version

    @property
    def is_upgrade(self) -> bool:
        return self.then.source == this_version().source


@pytest.fixture(scope="session")
def former() -> Version:
    return former_version()


@pytest.fixture(params=["upgrade", "downgrade"])
def step(request: pytest.FixtureRequest, former: Version) -> Step:
    now = this_version()
    return Step(first=former, then=now) if request.param == "upgrade" else Step(first=now, then=former)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """State of a gate: the mounted Secret, the file of people, the audit log."""

    directory: Path

    @property
    def secret_dir(self) -> Path:
        return self.directory / "secret"

    @property
    def people(self) -> Path:
        return self.directory / "people.json"

    @property
    def audit(self) -> Path:
        return self.directory / "audit.jsonl"

    @classmethod
    def made_by(cls, version: Version, directory: Path) -> "State":
        """Let a version make the tokens of two projects, and the people's passwords."""
        state = cls(directory=directory)
        state.secret_dir.mkdir(parents=True)
        tokens = json.loads(version.script(SCRIPTS / "make_tokens.py", json.dumps([PROJECT, OTHER])))
        for key, value in tokens.items():
            (state.secret_dir / key).write_text(value)
        password = version.run("model-api-gate", "password", f"--password={PASSWORD}").stdout.strip()
        state.people.write_text(
            json.dumps(
                {name: {"password": password, "projects": own, "admin": admin} for name, (own, admin) in PEOPLE.items()}
            )
        )
        return state

    def token(self, purpose: Purpose, project: str = PROJECT) -> str:
        return (self.secret_dir / str(TokenKey(project_id=project, purpose=purpose))).read_text()


@contextmanager
def gate_of(version: Version, state: State, server: MlflowServer, port: int = 0) -> Iterator[Gate]:
    """Run a version's gate on a state, for the length of a `with` block."""
    port = port or free_port()
    options = [f"--upstream={server.uri}", f"--secret-dir={state.secret_dir}", f"--people-file={state.people}"]
    options += [f"--audit-log={state.audit}", "--host=127.0.0.1", f"--port={port}", "--attempts=100000"]
    command = [version.command("model-api-gate"), "serve", *options]
    log, imported = state.directory / "gate.log", version.imported("model-api-gate")
    with running(command, log=log, env=environment(), cwd=state.directory, imported=imported) as process:
        uri = f"http://127.0.0.1:{port}"
        process.wait_for_http(f"{uri}/readyz")
        yield Gate(uri=uri, server=server, secret_dir=state.secret_dir, audit=state.audit, process=process)


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """A registered model of a project in the MLflow at `uri`, made past the gate."""

    uri: str
    name: str
    experiment: str
    project: str = PROJECT

    def post(self, path: str, body: Json) -> Json:
        answer = ask(self.uri, "POST", f"{API}/{path}", body)
        assert answer.status == 200, answer.body
        return answer.json

    def version(self, files: dict[str, bytes] | None = None, stage: str = "") -> ModelRef:
        """Register one more version, of a run of its own."""
        run = self.post("runs/create", {"experiment_id": self.experiment, "start_time": 1})["run"]["info"]["run_id"]
        for name, content in (files or {"MLmodel": b"flavors: {}\n", "weights.bin": os.urandom(64)}).items():
            place = f"{PROXY}/{self.experiment}/{run}/artifacts/model/{name}"
            assert ask(self.uri, "PUT", place, content).status == 200
        body = {"name": self.name, "source": f"runs:/{run}/model", "run_id": run}
        made = self.post("model-versions/create", body)["model_version"]
        ref = ModelRef(name=self.name, version=str(made["version"]), owner=OWNER, run_id=run)
        if stage:
            self.move(ref, stage)
        return ref

    def move(self, ref: ModelRef, stage: str) -> None:
        self.post("model-versions/transition-stage", {"name": ref.name, "version": ref.version, "stage": stage})


@pytest.fixture
def registered(mlflow_3_17: MlflowServer) -> Registered:
    return new_model(mlflow_3_17.uri)


def new_model(uri: str, project: str = PROJECT) -> Registered:
    name, tags = f"upgraded-{next(NUMBERS)}", [{"key": "mlflow.domino.project_id", "value": project}]
    made = ask(uri, "POST", f"{API}/experiments/create", {"name": name, "tags": tags})
    assert made.status == 200, made.body
    assert ask(uri, "POST", f"{API}/registered-models/create", {"name": name, "tags": tags}).status == 200
    return Registered(uri=uri, name=name, experiment=str(made.json["experiment_id"]), project=project)
