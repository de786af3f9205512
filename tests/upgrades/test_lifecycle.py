"""Promotions, aliases and tags of one version of `model-api`, before the other."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from model_contract.tokens import Purpose
from testbed.former_version import Version
from testbed.gate import PROJECT
from testbed.lifecycle import state_of
from testbed.mlflow_server import MlflowServer
from tests.upgrades.conftest import Registered, State, Step, gate_of, new_model


class Commands:
    """`model-api` of any version, in front of one gate, as CI runs it."""

    def __init__(self, uri: str, state: State) -> None:
        token = state.token(Purpose.PROMOTE)
        self._environment = {"MLFLOW_TRACKING_URI": uri, "MLFLOW_TRACKING_TOKEN": token, "GITHUB_ACTOR": "octocat"}

    def __call__(self, version: Version, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return version.run("model-api", *arguments, env=self._environment)

    def promote(self, version: Version, file: Path, model: Registered, number: str) -> str:
        """Promote the model's version by a file, and return the error."""
        file.write_text(json.dumps({PROJECT: [{"name": model.name, "version": int(number)}]}))
        done = self(version, "promote", file, "--commit", "c0ffee")
        return done.stderr if done.returncode else ""


@contextmanager
def commands(step: Step, server: MlflowServer, directory: Path, gate: Version) -> Iterator[Commands]:
    state = State.made_by(step.first, directory)
    with gate_of(gate, state, server) as found:
        yield Commands(found.uri, state)


def test_promotion_is_rolled_back_by_the_other_version(step: Step, mlflow_3_17: MlflowServer, tmp_path: Path) -> None:
    model, file = new_model(mlflow_3_17.uri), tmp_path / "model_version.json"
    one, two, three = (model.version(stage="Staging").version for _ in range(3))
    with commands(step, mlflow_3_17, tmp_path, step.then) as run:
        assert [run.promote(step.first, file, model, number) for number in (one, two)] == ["", ""]
        done = run(step.then, "rollback", f"--project={PROJECT}", f"--model={model.name}", "--reason=worse")
        rolled_back = state_of(mlflow_3_17.uri, model.name)
        assert run.promote(step.then, file, model, three) == ""
        back = run(step.first, "rollback", f"--project={PROJECT}", f"--model={model.name}", f"--to={one}")
        assert run.promote(step.first, file, model, two) == ""
        drift = [run(version, "status", file, "--check", "--format=json") for version in (step.first, step.then)]

    assert (done.returncode, back.returncode) == (0, 0), done.stderr + back.stderr
    assert rolled_back["stages"] == {one: "Production", two: "Archived", three: "Staging"}
    assert rolled_back["aliases"]["production"] == one
    assert rolled_back["tags"][one]["promotion.rolled_back_from"] == two
    assert state_of(mlflow_3_17.uri, model.name)["aliases"]["production"] == two
    assert [one.returncode for one in drift] == [0, 0], [one.stderr for one in drift]
    assert sorted(json.loads(drift[0].stdout)) == sorted(json.loads(drift[1].stdout))


def test_commands_of_one_version_work_with_the_gate_of_the_other(
    step: Step, mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    """CI pins the commands; the gate is upgraded by the admin."""
    model, file = new_model(mlflow_3_17.uri), tmp_path / "model_version.json"
    number = model.version(stage="Staging").version
    with commands(step, mlflow_3_17, tmp_path, step.then) as run:
        plan = run(step.first, "plan", write(file, model, number))
        promoted = run.promote(step.first, file, model, number)
        status = run(step.first, "status", file, "--check")

    assert (plan.returncode, promoted, status.returncode) == (0, "", 0), plan.stderr + status.stderr


def write(file: Path, model: Registered, number: str) -> Path:
    file.write_text(json.dumps({PROJECT: [{"name": model.name, "version": int(number)}]}))
    return file


def test_promotion_that_was_killed_is_ended_by_the_other_version(
    step: Step, mlflow_3_17: MlflowServer, tmp_path: Path
) -> None:
    """The stage has moved, the alias and the tags have not."""
    model, file = new_model(mlflow_3_17.uri), tmp_path / "model_version.json"
    one, two = model.version(stage="Staging"), model.version(stage="Staging")
    with commands(step, mlflow_3_17, tmp_path, step.then) as run:
        assert run.promote(step.first, file, model, one.version) == ""
        model.move(two, "Production")
        assert run.promote(step.then, file, model, two.version) == ""
    state = state_of(mlflow_3_17.uri, model.name)

    assert state["stages"] == {one.version: "Archived", two.version: "Production"}
    assert state["aliases"]["production"] == two.version


def test_workflow_files_name_only_options_that_the_other_version_has(step: Step, tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    file, action = "scripts/model_version.json", f"--action=acme/mlflow-model-api@{'0' * 40}"
    (tmp_path / file).write_text(json.dumps({PROJECT: [{"name": "wine", "version": 1}]}))
    written = [version.run("model-api", "workflow", file, action, cwd=tmp_path) for version in (step.first, step.then)]

    assert [done.returncode for done in written] == [0, 0], written
    for command in ("promote", "rollback", "validate"):
        options = set(step.then.run("model-api", command, "--help").stdout.replace(",", " ").split())
        lines = [
            line for line in written[0].stdout.replace("\\\n", " ").splitlines() if f"model-api {command} " in line
        ]
        used = {word.partition("=")[0] for line in lines for word in line.split() if word.startswith("--")}

        assert used <= options, (command, used - options)
