"""A whole installation: MLflow behind the gate, the webhook, Domino and a model. Each test has versions of its own."""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from model_contract.tokens import Purpose
from testbed.domino import Domino, domino
from testbed.gate import API, PASSWORD, Gate, Json, ask, gate
from testbed.lifecycle import MODULES
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE, Process, completed, installed
from testbed.reverse_proxy import Exchange, reverse_proxy
from testbed.runtime_server import WITH_MLFLOW
from testbed.webhook_server import WebhookServer, webhook_server

SCRIPT = Path(__file__).parent / "scripts" / "register_wine.py"
# By what the tests do with them. Each is deployed at most once, which is what takes long.
VERSIONS = ("serving", "staged", "troubled", "killed", "lost", "older", "mlflow", "pending", "without a run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """Jane's workspace in Domino.

    `first` is the prediction of version 1 for the model's example; each further version predicts one more.
    """

    name: str
    gate: Gate
    webhook: WebhookServer
    domino: Domino
    directory: Path
    first: list[float]
    more: Mapping[str, str] = field(default_factory=dict)

    def number(self, role: str) -> str:
        return str(VERSIONS.index(role) + 1)

    def environ(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in os.environ.items()
            if name in {"PATH", "HOME", "LANG"} or name.startswith("COVERAGE")
        }
        jane = {"MLFLOW_TRACKING_USERNAME": "jane", "MLFLOW_TRACKING_PASSWORD": PASSWORD}
        return kept | {"MLFLOW_TRACKING_URI": self.gate.uri} | jane | self.domino.environ() | dict(self.more)

    def stage(self, version: str, *options: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.run("model-api", "stage", f"--name={self.name}", f"--version={version}", *options, **variables)

    def run(self, command: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return completed(
            [installed(command), *arguments],
            env=self.environ() | variables,
            cwd=self.directory,
            imported=MODULES if command == "model-api" else WITH_MLFLOW,  # which the pods have imported too
            timeout=600,
        )

    def start(self, version: str, *options: str, log: Path, fork: bool = True, **variables: str) -> Process:
        program = [installed("model-api"), "stage", f"--name={self.name}", f"--version={version}", *options]
        return Process.start(program, log=log, env=self.environ() | variables, imported=MODULES if fork else ())

    def version(self, version: str) -> Json:
        """Ask MLflow itself."""
        found: Json = ask(
            self.gate.server.uri, "GET", f"{API}/model-versions/get?name={self.name}&version={version}"
        ).json["model_version"]
        return found

    def tags(self, version: str) -> dict[str, str]:
        return {tag["key"]: tag["value"] for tag in self.version(version).get("tags", [])}

    def aliases(self) -> dict[str, str]:
        model = ask(self.gate.server.uri, "GET", f"{API}/registered-models/get?name={self.name}").json[
            "registered_model"
        ]
        return {one["alias"]: one["version"] for one in model.get("aliases", [])}

    def model_apis(self, version: str) -> list[Any]:
        return [model for model in self.domino.model_apis() if model.name == f"{self.name}-v{version}"]

    def predictions(self, version: str) -> list[float]:
        """Return the predictions for the same rows."""
        return pytest.approx([value + int(version) - 1 for value in self.first])  # type: ignore[no-any-return]

    def promote(self, version: str) -> None:
        body = {"name": self.name, "version": version, "stage": "Production", "archive_existing_versions": True}
        answer = self.gate.ask(
            "POST", f"{API}/model-versions/transition-stage", body, self.gate.bearer(Purpose.PROMOTE)
        )
        assert answer.status == 200, answer.body


@contextmanager
def installed_around(server: MlflowServer, directory: Path, versions: int) -> Iterator[Workspace]:
    with ExitStack() as parts:
        found_gate = parts.enter_context(gate(server, directory / "gate"))
        settings = {"MODEL_API_WEBHOOK_TRACKING_URI": found_gate.uri}
        webhook = parts.enter_context(webhook_server(directory / "webhook", settings))
        found_domino = parts.enter_context(domino(directory / "domino", gate=found_gate, webhook=webhook))
        jane = {
            "MLFLOW_TRACKING_URI": found_gate.uri,
            "MLFLOW_TRACKING_USERNAME": "jane",
            "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        }
        made = json.loads(server.run(SCRIPT, "staged-wine", str(versions), env=jane).splitlines()[-1])
        yield Workspace(
            name="staged-wine",
            gate=found_gate,
            webhook=webhook,
            domino=found_domino,
            directory=directory,
            first=made["predictions"],
        )


@pytest.fixture(scope="session")
def installation(mlflow_3_17: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    with installed_around(mlflow_3_17, tmp_path_factory.mktemp("installation"), len(VERSIONS)) as found:
        yield found


@pytest.fixture
def workspace(installation: Workspace) -> Iterator[Workspace]:
    """The workspace, in which no fault of an earlier test is left."""
    yield installation
    installation.domino.release()
    installation.domino.slow(0)


@pytest.fixture(scope="session")
def staged(installation: Workspace) -> str:
    """A version that is in Staging."""
    version = installation.number("staged")
    done = installation.stage(version)
    assert done.returncode == 0, done.stderr
    return version


@pytest.fixture(scope="session")
def serving(installation: Workspace) -> str:
    """A version that was staged, and is in Production."""
    version = installation.number("serving")
    done = installation.stage(version)
    assert done.returncode == 0, done.stderr
    installation.promote(version)
    return version


@dataclass(slots=True)
class Killer:
    """Kills the `victim` at the request whose path and body hold all of `marks`, before or after the server has it."""

    marks: tuple[str, ...] = ()
    after: bool = False
    victim: Future[Process] | None = None
    variables: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, exchange: Exchange) -> bool:
        asked = exchange.path + exchange.body.decode(errors="replace")
        if self.victim is None or exchange.command == "GET" or not all(mark in asked for mark in self.marks):
            return False
        if self.after:
            with exchange.upstream(exchange.body) as answer:
                answer.read()
        self.victim.result(PATIENCE).popen.kill()
        exchange.hang_up()
        return True


@pytest.fixture
def killer(workspace: Workspace) -> Iterator[Killer]:
    """A proxy between a command, the gate and Domino: `variables` lead past it."""
    found = Killer()
    with (
        reverse_proxy(workspace.gate.uri, found) as registry,
        reverse_proxy(workspace.domino.uri, found) as installed_domino,
    ):
        found.variables = {"MLFLOW_TRACKING_URI": registry.uri, "DOMINO_API_HOST": installed_domino.uri}
        yield found
