"""A project behind a gate: its models, and `model-api` run as its users run it."""

import itertools
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from model_contract.tokens import Purpose
from model_lifecycle.cli import COMMANDS
from testbed.gate import API, PROJECT, Answer, Gate, ask
from testbed.processes import Process, completed, installed

MODULES: Final = (
    *(f"model_lifecycle.commands.{module}" for module in sorted({*COMMANDS.values()})),
    "httpcore2",  # which the client of HTTP imports with its first connection, and what follows too
    "truststore",
)
NUMBERS: Final = itertools.count(1)
MEMBER: Final = "both"  # of the projects of these models
Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model of a project; each version has a run of its own, with files."""

    gate: Gate
    name: str
    experiment: str
    project: str = PROJECT

    def version(self, content: bytes = b"flavors: {}\n") -> str:
        """Register one more version, as a member of the project."""
        who = self.gate.basic(MEMBER)
        run = self.post("runs/create", {"experiment_id": self.experiment, "start_time": 1}, who)["run"]["info"]
        path = f"/api/2.0/mlflow-artifacts/artifacts/{self.experiment}/{run['run_id']}/artifacts/model/MLmodel"
        granted(self.gate.ask("PUT", path, content, who))
        body = {"name": self.name, "source": f"runs:/{run['run_id']}/model", "run_id": run["run_id"]}
        return str(self.post("model-versions/create", body, who)["model_version"]["version"])

    def stage(self, number: str) -> None:
        self.post(
            "model-versions/transition-stage",
            {"name": self.name, "version": number, "stage": "Staging"},
            self.gate.basic(MEMBER),
        )

    def staged(self) -> str:
        number = self.version()
        self.stage(number)
        return number

    def post(self, path: str, body: Json, who: Mapping[str, str]) -> Json:
        return granted(self.gate.ask("POST", f"{API}/{path}", body, who)).json

    def state(self) -> Json:
        """Return MLflow's own state: the stage of each version, the aliases, and the promotion's tags."""
        return state_of(self.gate.server.uri, self.name)

    def files(self, number: str) -> Path:
        """Return the directory of a version's files on the server's disk."""
        raw = ask(self.gate.server.uri, "GET", f"{API}/model-versions/get?name={self.name}&version={number}").json[
            "model_version"
        ]
        return self.gate.server.artifacts / self.experiment / str(raw["run_id"]) / "artifacts" / "model"


def state_of(uri: str, name: str) -> Json:
    versions = ask(uri, "GET", f"{API}/model-versions/search?filter=name%3D%27{name}%27").json.get("model_versions", [])
    model = ask(uri, "GET", f"{API}/registered-models/get?name={name}").json["registered_model"]
    return {
        "stages": {str(found["version"]): found["current_stage"] for found in versions},
        "aliases": {alias["alias"]: str(alias["version"]) for alias in model.get("aliases", [])},
        "tags": {
            str(found["version"]): {
                tag["key"]: tag["value"] for tag in found.get("tags", []) if tag["key"].startswith("promotion.")
            }
            for found in versions
        },
    }


def new_model(found: Gate, project: str = PROJECT) -> Model:
    who, name = found.basic(MEMBER), f"model-{next(NUMBERS)}"
    tags = [{"key": "mlflow.domino.project_id", "value": project}]
    experiment = found.ask("POST", f"{API}/experiments/create", {"name": name, "tags": tags}, who).json["experiment_id"]
    granted(found.ask("POST", f"{API}/registered-models/create", {"name": name, "tags": tags}, who))
    return Model(gate=found, name=name, experiment=str(experiment), project=project)


def granted(answer: Answer) -> Answer:
    """Return the answer. Raises RuntimeError if the gate has refused what a test needs."""
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"{answer.status}: {answer.body[:500]!r}")
    return answer


def write_file(path: Path, *entries: tuple[Model, str], **more: str) -> Path:
    """Write a promotion file with these versions of these models."""
    document: dict[str, list[Json]] = {}
    for model, number in entries:
        document.setdefault(model.project, []).append({"name": model.name, "version": int(number), **more})
    path.write_text(json.dumps(document))
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """Exit code and outputs of a command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def environment(
    found: Gate, project: str = PROJECT, purpose: Purpose = Purpose.PROMOTE, uri: str | None = None
) -> dict[str, str]:
    """Return the variables that CI sets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GITHUB_"))}
    return kept | {
        "MLFLOW_TRACKING_URI": uri or found.uri,
        "MLFLOW_TRACKING_TOKEN": found.token(purpose, project),
        "GITHUB_ACTOR": "octocat",
    }


def run(env: Mapping[str, str], *arguments: str | Path, before: Sequence[str] = ()) -> Done:
    """Run `model-api` with these arguments. `before` is a command that runs it, in a process of its own."""
    done = completed([*before, installed("model-api"), *arguments], env=env, imported=() if before else MODULES)
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


def start(env: Mapping[str, str], *arguments: str | Path, log: Path) -> Process:
    """Start `model-api` with these arguments."""
    return Process.start([installed("model-api"), *arguments], log=log, env=env, imported=MODULES)
