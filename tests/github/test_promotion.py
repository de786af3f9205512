"""A push to main and a rollback by a person: the blocks of the example's files, against MLflow behind the gate."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_contract.tokens import Purpose
from testbed.gate import OTHER, PROJECT, Gate, gate
from testbed.github_project import FILE, Project
from testbed.mlflow_server import MlflowServer
from tests.tracking_gate.conftest import Wine, wine_behind

SECRET = f"PROJECT_ID_{PROJECT.upper()}"


@pytest.fixture(scope="module")
def gate_of_project(mlflow_3_17: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with gate(mlflow_3_17, tmp_path_factory.mktemp("gate")) as found:
        yield found


@pytest.fixture
def wine(gate_of_project: Gate) -> Wine:
    """A model with versions 1 and 2 in Staging."""
    found = wine_behind(gate_of_project)
    for _ in range(2):
        assert found.move(found.version(), "Staging", gate_of_project.basic("jane")).status == 200
    return found


def secrets_of(found: Gate, project: str = PROJECT, purpose: Purpose = Purpose.PROMOTE) -> dict[str, str]:
    return {SECRET: found.token(purpose, project)}


@pytest.fixture
def wired(project: Project, gate_of_project: Gate) -> Project:
    """The repository with its secret and its variable."""
    return project.having(secrets=secrets_of(gate_of_project), variables={"MLFLOW_TRACKING_URI": gate_of_project.uri})


def content(wine: Wine, version: int) -> str:
    return json.dumps({PROJECT: [{"name": wine.name, "version": version}]})


def tags_of(wine: Wine, version: str) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in wine.raw(version)["tags"]}


def test_push_to_main_brings_the_version_into_production(wired: Project, wine: Wine) -> None:
    (job,) = wired.push(FILE, content(wine, 1))

    assert job.code == 0, job.log
    assert wine.stage("1") == "Production"
    assert tags_of(wine, "1")["promotion.commit"] == wired.head()
    assert wine.name in job.summary


def test_push_that_changes_no_version_changes_nothing(wired: Project, wine: Wine) -> None:
    wired.push(FILE, content(wine, 1))
    before = wine.raw("1")
    (job,) = wired.push(FILE, content(wine, 1) + "\n")

    assert job.code == 0, job.log
    assert wine.raw("1") == before


def test_version_that_is_not_there_fails_the_job_and_moves_nothing(wired: Project, wine: Wine) -> None:
    wired.push(FILE, content(wine, 1))
    (job,) = wired.push(FILE, content(wine, 9))

    assert job.code == 5
    assert "::error" in job.log
    assert wine.stage("1") == "Production"


WRONG = {"of another project": (OTHER, Purpose.PROMOTE, 4), "of pods": (PROJECT, Purpose.PULL, 4)}


@pytest.mark.parametrize(("project_id", "purpose", "code"), WRONG.values(), ids=WRONG)
def test_token_that_may_not_fails_the_job(
    wired: Project, wine: Wine, project_id: str, purpose: Purpose, code: int
) -> None:
    secrets = secrets_of(wine.gate, project_id, purpose)
    (job,) = wired.having(secrets=secrets, variables=wired.github.variables).push(FILE, content(wine, 1))

    assert job.code == code, job.log
    assert "::error" in job.log
    assert wine.stage("1") == "Staging"


def test_settings_that_are_missing_are_named(wired: Project, wine: Wine) -> None:
    (without_secret,) = wired.having(secrets={}, variables=wired.github.variables).push(FILE, content(wine, 1))
    (without_address,) = wired.having(secrets=wired.github.secrets, variables={}).push(FILE, content(wine, 2))

    assert (without_secret.code, without_address.code) == (4, 3), without_secret.log + without_address.log
    assert "MLFLOW_TRACKING_TOKEN" in without_secret.log
    assert "MLFLOW_TRACKING_URI" in without_address.log


def test_gate_that_does_not_answer_is_reported(wired: Project, wine: Wine) -> None:
    nowhere = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
    (job,) = wired.having(secrets=wired.github.secrets, variables=nowhere).push(FILE, content(wine, 1))

    assert job.code == 8, job.log


def test_person_rolls_a_model_back(wired: Project, wine: Wine, tmp_path: Path) -> None:
    for version in (1, 2):
        assert [job.code for job in wired.push(FILE, content(wine, version))] == [0]
    shell = f"worse; `touch {tmp_path}/a` $(touch {tmp_path}/b) \" ' && exit 1"
    (job,) = wired.roll_back(project=PROJECT, model=wine.name, reason=shell)

    assert job.code == 0, job.log
    assert (wine.stage("1"), wine.stage("2")) == ("Production", "Archived")
    assert tags_of(wine, "1")["promotion.reason"] == shell
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]


def test_no_job_shows_its_token(wired: Project, wine: Wine) -> None:
    jobs = [
        *wired.push(FILE, content(wine, 1)),
        *wired.push(FILE, content(wine, 9)),
        *wired.roll_back(project=PROJECT, model="none", reason="x"),
    ]
    written = [path.read_text(errors="replace") for path in wired.github.directory.glob("job-*/**/*") if path.is_file()]

    assert [job.code for job in jobs] == [0, 5, 4]
    assert wired.github.secrets[SECRET] not in "".join([*written, *(job.log + job.summary for job in jobs)])
