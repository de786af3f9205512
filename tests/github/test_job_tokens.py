"""A repository without a secret: its jobs ask GitHub for a token of their own, and the gate checks what it says."""

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from click.testing import CliRunner

from model_contract.tokens import Purpose
from model_lifecycle.cli import main
from testbed.gate import OTHER, PROJECT, Gate, gate
from testbed.github_project import FILE, Project
from testbed.github_workflow import Event
from testbed.mlflow_server import MlflowServer
from testbed.oidc_issuer import GITHUB, REQUEST_TOKEN, Issuer, oidc_issuer
from tests.tracking_gate.conftest import Wine, wine_behind

AUDIENCE = "model-api-gate"
CLAIMS = {name: GITHUB[name] for name in ("repository", "repository_id", "ref")}


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Issuer]:
    with oidc_issuer(tmp_path_factory.mktemp("issuer")) as found:
        yield found


@pytest.fixture(scope="module")
def trusting(mlflow_3_17: MlflowServer, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    """A gate that lets the repository's branch main promote the project's versions."""
    folder = tmp_path_factory.mktemp("gate")
    caller = {"claims": CLAIMS, "projects": [PROJECT], "rights": "promote"}
    entry = {"issuer": issuer.uri, "audience": AUDIENCE, "ca_file": str(issuer.authority), "callers": [caller]}
    (folder / "issuers.json").write_text(json.dumps({"issuers": [entry]}))
    with gate(mlflow_3_17, folder / "gate", f"--issuers-file={folder}/issuers.json", "--attempts=1000") as found:
        yield found


@pytest.fixture
def wine(trusting: Gate) -> Wine:
    found = wine_behind(trusting)
    assert found.move(found.version(), "Staging", trusting.basic("jane")).status == 200
    return found


@pytest.fixture
def wired(project: Project, trusting: Gate, issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """The repository with workflows that ask for tokens, without any secret."""
    monkeypatch.chdir(project.repository)
    done = CliRunner().invoke(main, ["workflow", FILE, "--write", "--oidc-audience", AUDIENCE])
    assert done.exit_code == 0, done.output
    monkeypatch.setenv("SSL_CERT_FILE", str(issuer.authority))
    issuer.claims = dict(GITHUB)
    named = project.having(secrets={}, variables={"MLFLOW_TRACKING_URI": trusting.uri})
    yield Project(github=replace(named.github, identity=issuer.runner_variables()))


def content(wine: Wine) -> str:
    return json.dumps({PROJECT: [{"name": wine.name, "version": 1}]})


def test_job_promotes_and_rolls_back_without_a_secret(wired: Project, wine: Wine, issuer: Issuer) -> None:
    (job,) = wired.push(FILE, content(wine))
    assert job.code == 0, job.log
    assert wine.stage("1") == "Production"
    second = wine.version()
    assert wine.move(second, "Staging", wine.gate.basic("jane")).status == 200
    (again,) = wired.push(FILE, json.dumps({PROJECT: [{"name": wine.name, "version": int(second)}]}))
    assert again.code == 0, again.log
    (back,) = wired.roll_back(project=PROJECT, model=wine.name, reason="worse")
    assert back.code == 0, back.log
    assert wine.stage("1") == "Production"

    moves = [
        line for line in wine.gate.lines() if line.get("model") == wine.name and line.get("to_stage") == "Production"
    ]
    actor = moves[-1]["actor"]
    assert actor == {
        "kind": "promote",
        "name": GITHUB["sub"],
        "project": PROJECT,
        "issuer": issuer.uri,
        **{name: GITHUB[name] for name in ("repository", "run_id", "run_attempt", "actor")},
    }


OTHERS: dict[str, dict[str, Any]] = {
    "a fork": {"repository": "mallory/wine", "repository_id": "99"},
    "a repository of the same name": {"repository_id": "23"},
    "another branch": {"ref": "refs/heads/change"},
    "a pull request": {"ref": "refs/pull/1/merge", "event_name": "pull_request"},
    "another audience": {"aud": "https://github.com/acme"},
}


@pytest.mark.parametrize("claims", OTHERS.values(), ids=OTHERS)
def test_token_of_another_job_moves_nothing(wine: Wine, issuer: Issuer, claims: dict[str, Any]) -> None:
    token = issuer.token({"aud": AUDIENCE, **GITHUB, **claims})
    answer = wine.move("1", "Production", {"Authorization": f"Bearer {token}"})

    assert (answer.status, answer.message) == (401, "token not accepted")
    assert wine.stage("1") == "Staging"


def test_job_moves_no_version_of_another_project(trusting: Gate, wine: Wine, issuer: Issuer) -> None:
    token = {"Authorization": f"Bearer {issuer.token({'aud': AUDIENCE, **GITHUB})}"}
    olga = trusting.basic("olga")
    body = {"name": f"of-{OTHER}-{wine.name}"}
    assert trusting.ask("POST", "/api/2.0/mlflow/registered-models/create", body, olga).status == 200

    foreign = trusting.ask("GET", f"/api/2.0/mlflow/registered-models/get?name={body['name']}", headers=token)
    own = trusting.ask("GET", f"/api/2.0/mlflow/registered-models/get?name={wine.name}", headers=token)
    assert (foreign.status, own.status) == (403, 200)
    assert foreign.message == f"not an object of project {PROJECT}"
    assert wine.move("1", "Production", trusting.bearer(Purpose.PROMOTE)).status == 200, "stored tokens go on working"


def test_job_without_the_permission_says_what_to_add(wired: Project, wine: Wine) -> None:
    path = wired.repository / ".github/workflows/model-promote.yml"
    path.write_text(path.read_text().replace("id-token: write", "id-token: none"))
    (job,) = wired.push(FILE, content(wine))

    assert job.code == 3
    assert "id-token: write" in job.log


def test_job_whose_issuer_is_away_moves_nothing(wired: Project, wine: Wine, issuer: Issuer) -> None:
    away = Project(github=replace(wired.github, identity={**issuer.runner_variables(), **NOWHERE}))
    (job,) = away.push(FILE, content(wine))

    assert job.code == 8, job.log
    assert "GitHub gives the job no token" in job.log
    assert wine.stage("1") == "Staging"


NOWHERE = {"ACTIONS_ID_TOKEN_REQUEST_URL": "https://127.0.0.1:9/request?a=b"}


def test_no_token_is_in_a_log(wired: Project, wine: Wine, issuer: Issuer) -> None:
    issuer.claims |= {"ref": "refs/heads/change"}
    (refused,) = wired.push(FILE, content(wine))
    issuer.claims = dict(GITHUB)
    (job,) = wired.push(FILE, content(wine) + "\n")
    folder = wired.github.directory
    written = [path.read_text(errors="replace") for path in folder.glob("job-*/**/*") if path.is_file()]
    of_gate = [wine.gate.audit.read_text(), wine.gate.process.log.read_text()]

    assert (refused.code, job.code) == (4, 0), refused.log + job.log
    shown = "".join([*written, *of_gate, refused.log, refused.summary, job.log, job.summary])
    assert REQUEST_TOKEN not in shown
    assert "eyJ" not in shown


def test_pull_request_has_no_way_to_a_token(wired: Project, wine: Wine) -> None:
    validate = (wired.repository / ".github/workflows/model-validate.yml").read_text()

    assert "id-token" not in validate
    assert (
        wired.github.run("model-promote.yml", Event(name="pull_request", ref="refs/pull/1/merge"), wired.head()) == ()
    )
    (job,) = wired.pull_request(FILE, content(wine))
    assert job.code == 0, job.log
