"""The lines that GitLab's and Jenkins' files run, executed by a shell as docs/how-to/promote-with-gitlab-or-jenkins.md
has them: validate in a Git repository, promote against MLflow behind the gate. Neither system is here.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from model_contract.tokens import Purpose
from model_lifecycle.commands.promotion import AUTHORS, record_of
from testbed.gate import PROJECT, Gate, gate
from testbed.github_project import FILE, ROOT, Project
from testbed.mlflow_server import MlflowServer
from testbed.processes import PATIENCE
from tests.tracking_gate.conftest import Wine, wine_behind

PAGE = (ROOT / "docs" / "how-to" / "promote-with-gitlab-or-jenkins.md").read_text()
GITLAB = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
JENKINS = re.findall(r"sh '(.*)'", re.findall(r"```groovy\n(.*?)```", PAGE, re.DOTALL)[0])
VALIDATE = {"GitLab": "\n".join(GITLAB["validate"]["script"]), "Jenkins": JENKINS[0]}
PROMOTE = {"GitLab": "\n".join(GITLAB["promote"]["script"]), "Jenkins": JENKINS[1]}


def run(script: str, project: Project, variables: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["/bin/bash", "-e", "-c", script],
        cwd=project.repository,
        env={"PATH": path, "HOME": os.environ.get("HOME", "/"), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )


@pytest.mark.parametrize("system", VALIDATE)
@pytest.mark.parametrize(("version", "code"), [("3", 0), ("three", 3)], ids=["right", "wrong"])
def test_line_of_the_page_checks_the_file(system: str, version: str, code: int, project: Project) -> None:
    base = project.head()
    project.write(FILE, json.dumps({PROJECT: [{"name": "wine-quality", "version": version}]}))
    project.commit()

    done = run(VALIDATE[system], project, {"CI_MERGE_REQUEST_DIFF_BASE_SHA": base})

    assert done.returncode == code, done.stderr


STARTED_BY = {
    "Azure DevOps": "BUILD_REQUESTEDFOR",
    "Bitbucket": "BITBUCKET_STEP_TRIGGERER_UUID",
    "CircleCI": "CIRCLE_USERNAME",
    "Jenkins": "BUILD_USER_ID",  # of its plugin build-user-vars
}


@pytest.mark.parametrize("name", STARTED_BY.values(), ids=STARTED_BY)
def test_person_who_started_the_job_is_recorded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for author in AUTHORS:
        monkeypatch.delenv(author, raising=False)
    monkeypatch.setenv("USER", "agent")
    monkeypatch.setenv(name, "jane")

    assert record_of().by == "jane"


@pytest.fixture(scope="module")
def gate_of_project(mlflow_3_17: MlflowServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gate]:
    with gate(mlflow_3_17, tmp_path_factory.mktemp("gate")) as found:
        yield found


@pytest.fixture
def wine(gate_of_project: Gate) -> Wine:
    found = wine_behind(gate_of_project)
    assert found.move(found.version(), "Staging", gate_of_project.basic("jane")).status == 200
    return found


@pytest.mark.parametrize("system", PROMOTE)
def test_line_of_the_page_brings_the_version_into_production(system: str, project: Project, wine: Wine) -> None:
    token = wine.gate.token(Purpose.PROMOTE, PROJECT)
    project.write(FILE, json.dumps({PROJECT: [{"name": wine.name, "version": 1}]}))
    commit = project.commit()
    variables = {
        "GitLab": {f"PROJECT_ID_{PROJECT.upper()}": token, "CI_COMMIT_SHA": commit, "GITLAB_USER_LOGIN": "jane"},
        "Jenkins": {"MLFLOW_TRACKING_TOKEN": token, "GIT_COMMIT": commit},
    }

    done = run(PROMOTE[system], project, {"MLFLOW_TRACKING_URI": wine.gate.uri, **variables[system]})

    assert done.returncode == 0, done.stderr
    assert wine.stage("1") == "Production"
    tags = {tag["key"]: tag["value"] for tag in wine.raw("1")["tags"]}
    assert tags["promotion.commit"] == commit
    assert tags["promotion.by"] == {"GitLab": "jane", "Jenkins": "unknown"}[system]
