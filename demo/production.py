"""Production: a merge to main in a scratch repository runs the `run:` blocks of the example's workflows."""

import json

from demo.context import NAME, DemoContext, jane_environment, model_api
from model_contract.tokens import Purpose
from testbed.gate import PROJECT, Gate
from testbed.github_project import FILE, Project
from testbed.github_steps import Job, git
from testbed.github_workflow import Event


class WorkflowFailedError(RuntimeError):
    """A job of GitHub has failed; the message is its log."""


def open_repository(context: DemoContext, gate: Gate) -> Project:
    with context.terminal.step(
        "Put examples/domino-project into a git repository, with what GitHub would have in its settings"
    ):
        runner = context.directory / "runner"
        runner.mkdir()
        secret = f"PROJECT_ID_{PROJECT.upper()}"
        project = Project.of_example(context.directory / "repository", runner)
        project.write(FILE, json.dumps({PROJECT: []}) + "\n")  # nothing is in Production yet: the first merge says so
        project.commit()
        context.terminal.note(f"secret {secret}: the project's promote token; variable MLFLOW_TRACKING_URI: the gate")
    return project.having(secrets={secret: gate.token(Purpose.PROMOTE)}, variables={"MLFLOW_TRACKING_URI": gate.uri})


def merge(context: DemoContext, gate: Gate, project: Project, version: int) -> None:
    with context.terminal.step(f"Merge to main: version {version} in {FILE}"):
        content = json.dumps({PROJECT: [{"name": NAME, "version": version}]}, indent=2) + "\n"
        context.terminal.note("the pull request runs model-validate.yml, which sees no secret")
        show_summaries(context, project.pull_request(FILE, content))
        merged = project.head()
        for command in (
            ["checkout", "--quiet", "main"],
            ["merge", "--quiet", "--ff-only", merged],
            ["branch", "--quiet", "-D", "change"],
        ):
            git(project.repository, *command)
        context.terminal.note("the merge runs model-promote.yml, with the promote token")
        show_summaries(context, project.github.run("model-promote.yml", Event(name="push", changed=(FILE,)), merged))
        show_status(context, gate)


def roll_back(context: DemoContext, gate: Gate, project: Project) -> None:
    with context.terminal.step("Roll back: a person fills in the form of model-rollback.yml"):
        show_summaries(
            context, project.roll_back(project=PROJECT, model=NAME, version="previous", reason="worse on old wines")
        )
        show_status(context, gate)


def show_status(context: DemoContext, gate: Gate) -> None:
    for line in model_api("status", f"--project={PROJECT}", environ=jane_environment(gate)).stdout.splitlines():
        context.terminal.note(line)


def show_summaries(context: DemoContext, jobs: tuple[Job, ...]) -> None:
    """Print the summaries of jobs, as GitHub's page shows them. Raises WorkflowFailedError."""
    for job in jobs:
        if job.code:
            raise WorkflowFailedError(f"{job.name}: {job.log}")
        for line in job.summary.splitlines():
            if line.strip(" |-"):  # what is not only there for Markdown
                context.terminal.quote(line)
