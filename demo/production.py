"""Production: a merge to main in a scratch repository, and what the example's workflows do then, their `run:` blocks as
they stand.
"""

import json

from demo.scene import NAME, Scene, janes, model_api
from model_contract.tokens import Purpose
from testbed.gate import PROJECT, Gate
from testbed.github_project import FILE, Project
from testbed.github_steps import Job, git
from testbed.github_workflow import Event


class WorkflowFailedError(RuntimeError):
    """A job of GitHub's has failed; the message is its log."""


def open_repository(scene: Scene, gate: Gate) -> Project:
    with scene.say.step(
        "Put examples/domino-project into a git repository, with what GitHub would have in its settings"
    ):
        runner = scene.directory / "runner"
        runner.mkdir()
        secret = f"PROJECT_ID_{PROJECT.upper()}"
        project = Project.of_example(scene.directory / "repository", runner)
        project.write(FILE, json.dumps({PROJECT: []}) + "\n")  # nothing is in Production yet: the first merge says so
        project.commit()
        scene.say.note(f"secret {secret}: the project's promote token; variable MLFLOW_TRACKING_URI: the gate")
    return project.having(secrets={secret: gate.token(Purpose.PROMOTE)}, variables={"MLFLOW_TRACKING_URI": gate.uri})


def merge(scene: Scene, gate: Gate, project: Project, version: int) -> None:
    with scene.say.step(f"Merge to main: version {version} in {FILE}"):
        content = json.dumps({PROJECT: [{"name": NAME, "version": version}]}, indent=2) + "\n"
        scene.say.note("the pull request runs model-validate.yml, which sees no secret")
        tell(scene, project.pull_request(FILE, content))
        merged = project.head()
        for command in (
            ["checkout", "--quiet", "main"],
            ["merge", "--quiet", "--ff-only", merged],
            ["branch", "--quiet", "-D", "change"],
        ):
            git(project.repository, *command)
        scene.say.note("the merge runs model-promote.yml, with the promote token")
        tell(scene, project.github.run("model-promote.yml", Event(name="push", changed=(FILE,)), merged))
        show_status(scene, gate)


def roll_back(scene: Scene, gate: Gate, project: Project) -> None:
    with scene.say.step("Roll back: somebody fills in the form of model-rollback.yml"):
        tell(scene, project.roll_back(project=PROJECT, model=NAME, version="previous", reason="worse on old wines"))
        show_status(scene, gate)


def show_status(scene: Scene, gate: Gate) -> None:
    for line in model_api("status", f"--project={PROJECT}", environ=janes(gate)).stdout.splitlines():
        scene.say.note(line)


def tell(scene: Scene, jobs: tuple[Job, ...]) -> None:
    """What GitHub's page shows of jobs: their summaries. Raises WorkflowFailedError."""
    for job in jobs:
        if job.code:
            raise WorkflowFailedError(f"{job.name}: {job.log}")
        for line in job.summary.splitlines():
            if line.strip(" |-"):  # what is not only there for Markdown
                scene.say.quote(line)
