"""A pull request's workflow and the action that it uses: their blocks are executed as they stand in the files."""

import json
from typing import Final

import pytest

from testbed.gate import OTHER, PROJECT
from testbed.github_project import ACTION, FILE, Project
from testbed.github_workflow import Event, WorkflowError


def content(version: object, project: str = PROJECT) -> str:
    return json.dumps({project: [{"name": "wine-quality", "version": version}]})


def test_right_file_passes_and_says_what_it_changes(project: Project) -> None:
    (job,) = project.pull_request(FILE, content(3))

    assert job.code == 0, job.log
    assert "wine-quality: version 2 → 3" in job.log
    assert "- wine-quality: version 2 → 3" in job.summary


def test_wrong_file_fails_with_an_annotation_at_its_place(project: Project) -> None:
    (job,) = project.pull_request(FILE, content("03"))

    assert job.code == 3
    assert f"::error file={FILE},title=Promotion::" in job.log
    assert ".version` must be a positive number" in job.summary


def test_project_without_a_job_fails_before_it_is_merged(project: Project) -> None:
    (job,) = project.pull_request(FILE, content(1, OTHER))

    assert job.code == 3
    assert f"`model-api workflow {FILE} --write`" in job.log


OWN: Final = f"""\
on:
  pull_request:
jobs:
  own:
    steps:
      - uses: actions/checkout@main
        with:
          fetch-depth: 2
      - uses: {ACTION}@main
        with:
          command: validate
          base: HEAD^1
"""


def test_action_runs_the_command_that_it_is_given(project: Project) -> None:
    project.write(".github/workflows/own.yml", OWN)
    project.commit()
    (job,) = project.pull_request(FILE, content(5), "own.yml")

    assert job.code == 0, job.log
    assert [step.name for step in job.steps] == ["Install model-api", "model-api"]
    assert "wine-quality: version 2 → 5" in job.log


NOT_FOR_PROMOTION = {
    "a push of another file": Event(name="push", changed=("model.py",)),
    "a push to another branch": Event(name="push", ref="refs/heads/change", changed=(FILE,)),
    "a pull request": Event(name="pull_request", ref="refs/pull/1/merge"),
    "a start by hand on another branch": Event(name="workflow_dispatch", ref="refs/heads/change"),
}


@pytest.mark.parametrize("event", NOT_FOR_PROMOTION.values(), ids=NOT_FOR_PROMOTION)
def test_promotion_is_for_what_is_on_main(project: Project, event: Event) -> None:
    assert project.github.run("model-promote.yml", event, project.head()) == ()


def test_rollback_is_for_what_is_on_main_and_for_a_project_of_the_file(project: Project) -> None:
    inputs = {"project": PROJECT, "model": "wine-quality", "reason": "worse"}
    elsewhere = Event(name="workflow_dispatch", ref="refs/heads/change", inputs=inputs)

    assert project.github.run("model-rollback.yml", elsewhere, project.head()) == ()
    with pytest.raises(WorkflowError, match="is no choice of the input project"):
        project.roll_back(**inputs | {"project": OTHER})
