"""`model-api stage`, with everything that it needs: a version goes from the registry to a pod that answers."""

import json
import sqlite3
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_DIGEST, TAG_IMAGE, TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from model_contract.tokens import Purpose
from testbed.domino import domino
from testbed.gate import API, OTHER, PASSWORD, ask
from testbed.mlflow_server import MlflowServer, mlflow_server
from testbed.processes import Process, free_port
from testbed.registry import image_registry
from testbed.reverse_proxy import Exchange, reverse_proxy
from tests.model_lifecycle.staging.conftest import Workspace, installed_around

ROWS = {"columns": ["alcohol", "pH"], "data": [[9.4, 3.51], [10.1, 3.2]]}
KILLED = -9
POINTS = {
    "the digest": ("set-tag", TAG_DIGEST),
    "the listing": ("set-tag", "model-api.listing"),
    "the publication": ("/modelApis", "environmentVariables"),
    "the model API's tag": ("set-tag", f'"{TAG_MODEL_ID}"'),
    "the version's tag": ("set-tag", TAG_MODEL_VERSION_ID),
    "the stage": ("transition-stage",),
    "the alias": ("registered-models/alias",),
}


def asked(url: str) -> list[float]:
    body = json.dumps({"data": {"dataframe_split": ROWS}}).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310  a loopback address of ours
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  as above
        predictions: list[float] = json.load(answer)["result"]
    return predictions


@pytest.mark.timeout(1800)  # fourteen runs, and the first test that needs the whole installation
def test_staging_that_is_killed_at_every_step_ends_right_when_it_is_run_again(
    workspace: Any, tmp_path: Path, killer: Any
) -> None:
    number, ends = workspace.number("killed"), {}
    for point, marks in POINTS.items():
        for after in (False, True):
            killer.marks, killer.after, killer.victim = marks, after, Future()
            process = workspace.start(number, log=tmp_path / "stage.log", **killer.variables)
            killer.victim.set_result(process)
            ends[point, after] = process.popen.wait(600)
    killer.victim = None

    done = workspace.stage(number, "--format=json")

    assert ends == dict.fromkeys(ends, KILLED), (tmp_path / "stage.log").read_text()
    assert done.returncode == 0, done.stderr
    [model] = workspace.model_apis(number)
    [version] = model.versions
    tags = workspace.tags(number)
    assert (tags[TAG_MODEL_ID], tags[TAG_MODEL_VERSION_ID]) == (model.id, version.id)
    assert json.loads(done.stdout)["digest"] == tags[TAG_DIGEST]
    assert workspace.version(number)["current_stage"] == "Staging"
    assert workspace.aliases()["staging"] == number
    assert asked(json.loads(done.stdout)["url"]) == workspace.predictions(number)


@dataclass(slots=True)
class Restart:
    """Ends MLflow before the first change whose path and body hold all of `marks`, and starts it on the same port."""

    server: MlflowServer
    process: Process
    marks: tuple[str, ...] = ()

    def __call__(self, exchange: Exchange) -> bool:
        asked = exchange.path + exchange.body.decode(errors="replace")
        if self.marks and exchange.command == "POST" and all(mark in asked for mark in self.marks):
            self.marks = ()
            self.process.stop()
            self.process = self.server.start_again()
        return False


RESTARTED_AT = ("the digest", "the model API's tag", "the stage")


@pytest.fixture(scope="module")
def mlflow_2(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Workspace, Restart]]:
    """A workspace of MLflow 2 with a version for each of its tests' stagings, and the restart of its MLflow.

    MLflow 2 starts in half the time of MLflow 3, which test_promote_interrupted restarts.
    """
    directory = tmp_path_factory.mktemp("mlflow-2")
    with (
        mlflow_server("2.22", directory / "mlflow") as server,
        installed_around(server, directory, 1 + len(RESTARTED_AT)) as there,
    ):
        restart = Restart(server, server.process)
        try:
            yield there, restart
        finally:
            restart.process.stop()


@pytest.mark.timeout(1800)  # the first test that needs this installation
def test_version_of_mlflow_2_is_staged_too(mlflow_2: tuple[Workspace, Restart]) -> None:
    there, _ = mlflow_2

    done = there.stage("1", "--format=json")

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["result"] == there.predictions("1")
    assert there.tags("1")[TAG_DIGEST] == json.loads(done.stdout)["digest"]
    assert there.version("1")["current_stage"] == "Staging"


@pytest.mark.timeout(1800)  # MLflow starts three times
def test_staging_interrupted_by_a_restart_of_mlflow_ends_right_when_run_again(
    mlflow_2: tuple[Workspace, Restart],
) -> None:
    there, restart = mlflow_2
    with reverse_proxy(there.gate.uri, restart) as registry:
        for number, point in enumerate(RESTARTED_AT, 2):
            restart.marks = POINTS[point]
            expect_staged_once(there, str(number), MLFLOW_TRACKING_URI=registry.uri)
            assert restart.marks == ()


def expect_staged_once(there: Workspace, number: str, **variables: str) -> None:
    done = there.stage(number, **variables)
    if done.returncode:
        assert done.returncode == ExitCode.UNAVAILABLE, done.stderr
        done = there.stage(number, **variables)

    assert done.returncode == 0, done.stderr
    [model] = there.model_apis(number)
    [version] = model.versions
    tags = there.tags(number)
    assert (tags[TAG_MODEL_ID], tags[TAG_MODEL_VERSION_ID]) == (model.id, version.id)
    assert tags[TAG_DIGEST].startswith("sha256:")
    assert there.version(number)["current_stage"] == "Staging"
    assert there.aliases()["staging"] == number
    assert asked(done.stdout.strip()) == there.predictions(number)


def test_staging_another_version_leaves_production_as_it_is(workspace: Any, tmp_path: Path, serving: str) -> None:
    number = workspace.number("troubled")
    [before] = workspace.model_apis(serving)
    pod = workspace.domino.pods()[before.newest.id]
    workspace.domino.fail_next_build("no space left on device")

    failed = workspace.stage(number)

    assert failed.returncode == ExitCode.PRECONDITION
    assert "no space left on device" in failed.stderr
    assert TAG_MODEL_ID not in workspace.tags(number)

    workspace.domino.hold()
    late = workspace.stage(number, "--wait=0.1")

    assert late.returncode == ExitCode.UNAVAILABLE
    assert "run the same command again to wait for it" in late.stderr

    process = workspace.start(number, log=tmp_path / "stage.log", fork=False)  # its command line is looked at
    leaks = secrets_in_command_lines(workspace)
    wait_for(lambda: "waiting" in (tmp_path / "stage.log").read_text())
    workspace.domino.restart()
    workspace.domino.release()

    assert process.popen.wait(600) == 0, process.tail()
    [model] = workspace.model_apis(number)
    assert [version.status for version in model.versions] == ["Failed", "Running"]
    assert asked((tmp_path / "stage.log").read_text().split()[-1]) == workspace.predictions(number)
    assert workspace.domino.model_api(before.id) == before
    assert workspace.domino.pods()[before.newest.id] is pod
    assert workspace.version(serving)["current_stage"] == "Production"
    assert workspace.version(number)["current_stage"] == "Staging"
    assert leaks == []
    assert secrets_in_files(workspace, tmp_path) == []


def test_staged_version_is_only_looked_at_when_it_is_staged_again(workspace: Any, staged: str) -> None:
    workspace.stage(staged)  # the alias may have gone to another version
    published = len(workspace.domino.asked("POST", "/api/modelServing"))

    again = workspace.stage(staged)

    assert again.returncode == 0, again.stderr
    assert "is as it should be" in again.stderr
    assert len(workspace.domino.asked("POST", "/api/modelServing")) == published


def test_version_is_packaged_before_it_is_deployed(workspace: Any, staged: str, tmp_path: Path) -> None:
    away = workspace.stage(staged, f"--package-to=127.0.0.1:{free_port()}/models")
    with image_registry(tmp_path) as registry:
        done = workspace.stage(staged, f"--package-to={registry.address}/models/{{project_id}}")

    assert (away.returncode, "model API" in away.stderr) == (8, False), away.stderr
    assert done.returncode == 0, done.stderr
    assert done.stderr.index("image ") < done.stderr.index("model API")
    assert workspace.tags(staged)[TAG_IMAGE].startswith(f"{registry.address}/models/")


def test_model_api_with_an_access_token_wants_it(workspace: Any, staged: str) -> None:
    token = workspace.domino.restrict(workspace.tags(staged)[TAG_MODEL_ID])

    without, left_out = workspace.stage(staged), workspace.stage(staged, "--no-call")
    shown = workspace.stage(staged, DOMINO_MODEL_API_TOKEN=token)

    assert (without.returncode, left_out.returncode, shown.returncode) == (ExitCode.NOT_AUTHORISED, 0, 0)
    assert "DOMINO_MODEL_API_TOKEN" in without.stderr
    assert token not in without.stderr + shown.stderr + shown.stdout


def test_publication_whose_answer_is_lost_is_found(workspace: Any) -> None:
    workspace.domino.hold()
    workspace.domino.break_off_next("POST", "/api/modelServing/v1/modelApis$")

    late = workspace.stage(workspace.number("lost"), "--wait=0")

    assert late.returncode == ExitCode.UNAVAILABLE
    assert "Domino goes on" in late.stderr
    assert len(workspace.model_apis(workspace.number("lost"))) == 1


@pytest.mark.parametrize("who", ["a pod", "a person of another project", "another project's token"])
def test_staging_without_permission_sends_nothing_to_domino(workspace: Any, who: str) -> None:
    nobody = {"MLFLOW_TRACKING_USERNAME": ""}
    variables = {
        "a pod": nobody | {"MLFLOW_TRACKING_TOKEN": workspace.gate.token(Purpose.PULL)},
        "a person of another project": {"MLFLOW_TRACKING_USERNAME": "olga"},
        "another project's token": nobody | {"MLFLOW_TRACKING_TOKEN": workspace.gate.token(Purpose.PROMOTE, OTHER)},
    }
    before = len(workspace.domino.requests)

    refused = workspace.stage(workspace.number("lost"), **variables[who])

    assert refused.returncode == ExitCode.NOT_AUTHORISED, refused.stderr
    assert len(workspace.domino.requests) == before


def test_promote_token_may_stage(workspace: Any, staged: str) -> None:
    token = workspace.gate.token(Purpose.PROMOTE)

    done = workspace.stage(staged, "--no-call", MLFLOW_TRACKING_USERNAME="", MLFLOW_TRACKING_TOKEN=token)

    assert done.returncode == 0, done.stderr


def test_version_that_cannot_be_staged_says_why(workspace: Any, serving: str) -> None:
    numbers = {role: workspace.number(role) for role in ("pending", "without a run", "lost")}
    with closing(sqlite3.connect(workspace.gate.server.directory / "mlflow.db")) as database, database:
        change = "UPDATE model_versions SET {} WHERE name = ? AND version = ?"
        database.execute(change.format("status = 'PENDING_REGISTRATION'"), (workspace.name, numbers["pending"]))
        database.execute(change.format("run_id = ''"), (workspace.name, numbers["without a run"]))

    pending, without_run = workspace.stage(numbers["pending"]), workspace.stage(numbers["without a run"])
    missing, promoted, wrong = workspace.stage("99"), workspace.stage(serving), workspace.stage("two")
    elsewhere = workspace.stage(numbers["lost"], DOMINO_PROJECT_ID=OTHER)
    homeless = workspace.stage(numbers["lost"], DOMINO_ENVIRONMENT_ID="")
    run = {"run_id": workspace.version(numbers["lost"])["run_id"]}
    ask(workspace.gate.server.uri, "POST", f"{API}/runs/delete", run)
    deleted = workspace.stage(numbers["lost"])
    ask(workspace.gate.server.uri, "POST", f"{API}/runs/restore", run)

    assert (pending.returncode, without_run.returncode, promoted.returncode) == (ExitCode.PRECONDITION,) * 3
    assert "PENDING_REGISTRATION" in pending.stderr
    assert "without a run" in without_run.stderr
    assert "is in Production" in promoted.stderr
    assert (deleted.returncode, "restore the run first" in deleted.stderr) == (ExitCode.PRECONDITION, True)
    assert missing.returncode == ExitCode.NOT_FOUND
    assert wrong.returncode == ExitCode.INVALID_INPUT
    assert elsewhere.returncode == ExitCode.PRECONDITION
    assert f"not of {OTHER}" in elsewhere.stderr
    assert homeless.returncode == ExitCode.INVALID_INPUT
    assert "--env-id" in homeless.stderr


def test_url_is_formed_from_the_tags(workspace: Any, staged: str) -> None:
    workspace.stage(staged)
    model_id = workspace.tags(staged)[TAG_MODEL_ID]
    variables = {"DOMINO_USER_HOST": "https://domino.example.com/"}

    basic = workspace.run("model-api", "url", f"--name={workspace.name}", f"--version={staged}", **variables)
    advanced = workspace.run(
        "model-api", "url", f"--name={workspace.name}", "--alias=staging", "--routing=advanced", **variables
    )
    unstaged = workspace.run(
        "model-api", "url", f"--name={workspace.name}", f"--version={workspace.number('without a run')}", **variables
    )

    assert basic.stdout == f"https://domino.example.com/models/{model_id}/latest/model\n"
    assert advanced.stdout == f"https://domino.example.com/models/{model_id}/labels/prod/model\n"
    assert unstaged.returncode == ExitCode.NOT_FOUND


def test_older_api_serves_a_version_with_its_variables_from_its_second_build(workspace: Any, tmp_path: Path) -> None:
    number = workspace.number("older")
    with domino(tmp_path, gate=workspace.gate, webhook=workspace.webhook, apis=("older",)) as older:
        there = replace(workspace, domino=older)
        older.break_off_next("POST", "/v1/models/[^/]+/versions$")

        done = there.stage(number, "--alias-only", "--format=json")

        assert done.returncode == 0, done.stderr
        [model] = older.model_apis()
        assert [version.number for version in model.versions] == [1, 2]
        assert asked(json.loads(done.stdout)["url"]) == there.predictions(number)
        assert there.tags(number)[TAG_MODEL_VERSION_ID] == model.newest.id
        assert there.version(number)["current_stage"] == "None"
        assert there.aliases()["staging"] == number


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def secrets_of(workspace: Any) -> list[str]:
    tokens = [workspace.gate.token(purpose) for purpose in Purpose]
    return [
        workspace.domino.api_key,
        PASSWORD,
        workspace.gate.basic("jane")["Authorization"].removeprefix("Basic "),
        *tokens,
    ]


def secrets_in_command_lines(workspace: Any) -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            continue
        found += [line for secret in secrets_of(workspace) if secret in line]
    return found


def secrets_in_files(workspace: Any, *folders: Path) -> list[str]:
    """Search logs, audit lines and Domino's records for secrets; not the files that hold the secrets themselves."""
    logs = [
        file
        for folder in (workspace.directory, *folders)
        for suffix in ("log", "jsonl", "json")
        for file in folder.rglob(f"*.{suffix}")
    ]
    return [
        str(log)
        for log in logs
        if log.name != "people.json"
        for secret in secrets_of(workspace)
        if secret in log.read_text(errors="replace")
    ]
