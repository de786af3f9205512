"""A project's repository and its events on GitHub: pull requests, pushes to main, workflows that a person starts."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from testbed.github_steps import GitHub, Job, git
from testbed.github_workflow import Event

ROOT: Final = Path(__file__).parents[1]
EXAMPLE: Final = ROOT / "examples" / "domino-project"
FILE: Final = "scripts/model_version.json"
ACTION: Final = "acme/mlflow-model-api"


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A repository with its work tree; files written there are in the next commit."""

    github: GitHub

    @classmethod
    def of_example(cls, repository: Path, runner: Path) -> "Project":
        """Copy the example's project, with a first commit on main.

        Jobs work below `runner`, where the action stays installed.
        """
        shutil.copytree(EXAMPLE, repository)
        git(repository, "init", "--quiet", "--initial-branch=main")
        found = cls(github=GitHub(repository=repository, directory=runner, actions={ACTION: ROOT}))
        found.commit("Begin")
        return found

    @property
    def repository(self) -> Path:
        return self.github.repository

    def having(self, *, secrets: Mapping[str, str], variables: Mapping[str, str]) -> "Project":
        return Project(github=replace(self.github, secrets=secrets, variables=variables))

    def write(self, file: str, content: str) -> None:
        path = self.repository / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")

    def commit(self, message: str = "Change a file") -> str:
        git(self.repository, "add", ".")
        git(self.repository, "commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()

    def head(self) -> str:
        return git(self.repository, "rev-parse", "HEAD").strip()

    def pull_request(self, file: str, content: str, workflow: str = "model-validate.yml") -> tuple[Job, ...]:
        """Run the jobs of a branch that changes a file, at the trial merge with main that GitHub makes."""
        git(self.repository, "checkout", "--quiet", "-b", "change", "main")
        self.write(file, content)
        self.commit()
        git(self.repository, "checkout", "--quiet", "--detach", "main")
        git(self.repository, "merge", "--quiet", "--no-ff", "--message", "Merge", "change")
        return self.github.run(workflow, Event(name="pull_request", ref="refs/pull/1/merge"), self.head())

    def push(self, file: str, content: str) -> tuple[Job, ...]:
        """Run the jobs of a commit on main that changes a file."""
        self.write(file, content)
        return self.github.run("model-promote.yml", Event(name="push", changed=(file,)), self.commit())

    def roll_back(self, **inputs: str) -> tuple[Job, ...]:
        """Run the jobs of the form that a person fills in."""
        return self.github.run("model-rollback.yml", Event(name="workflow_dispatch", inputs=inputs), self.head())
