"""The GitHub workflows of a project as text, and the options that a written file holds.

GitHub gives a job only secrets that its file names, so each project of the promotion file has a job that names its own.
With an audience a job names none: it asks GitHub for a token of its own.
"""

import re
import shlex
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import yaml

from model_lifecycle.tracking import project_variable

FOLDER: Final = Path(".github/workflows")
VALIDATE: Final = "model-validate.yml"
PROMOTE: Final = "model-promote.yml"
ROLLBACK: Final = "model-rollback.yml"
NAMES: Final = (VALIDATE, PROMOTE, ROLLBACK)

# Text that needs no quotes in a workflow or in a shell.
FILE: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]*")
ACTION: Final = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+@[0-9a-f]{40}")
WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
WORDS: Final = re.compile(rf"{WORD.pattern}(,{WORD.pattern})*")
ENVIRONMENT: Final = re.compile(r"(?=.*[A-Za-z0-9])([A-Za-z0-9]|\{project\})([A-Za-z0-9._-]|\{project\})*")
BRANCH: Final = re.compile(r"(?!.*(\.\.|//|\.lock$|[./]$))[A-Za-z0-9_][A-Za-z0-9_./-]*")
AUDIENCE: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._:/-]*[A-Za-z0-9/])?")
JOB: Final = "project-"  # the beginning of a job's name, before the project's id
EACH_PROJECT: Final = "{project}"  # stands for the project's id in the name of an environment
RUNS_ON: Final = "ubuntu-24.04"
MAIN: Final = "main"
COMMAND: Final = re.compile(r"^# Written by `(model-api workflow [^`]*)`", re.MULTILINE)
SECRET: Final = re.compile(r"\$\{\{ *secrets\.(PROJECT_ID_[0-9A-Z_]+) *\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOptions:
    """Options that the promotion file does not hold.

    `action` is OWNER/REPO@COMMIT of the repository with `action.yml`.
    """

    file: str
    action: str
    runs_on: str = RUNS_ON
    runner_group: str | None = None
    environment: str | None = None
    branch: str = MAIN
    oidc_audience: str | None = None

    @property
    def command(self) -> str:
        """The command that writes the same files again. The files contain it, and so keep the options."""
        words = ["model-api", "workflow", self.file, "--write", "--action", self.action]
        words += ["--runs-on", self.runs_on] if self.runs_on != RUNS_ON else []
        words += ["--runner-group", self.runner_group] if self.runner_group else []
        words += ["--environment", self.environment] if self.environment else []
        words += ["--branch", self.branch] if self.branch != MAIN else []
        words += ["--oidc-audience", self.oidc_audience] if self.oidc_audience else []
        return shlex.join(words)


def options_in(text: str) -> Mapping[str, str]:
    """Return the options of the command that wrote a file, by name; none if it was written by hand."""
    found = COMMAND.search(text)
    try:
        words = shlex.split(found[1]) if found else []
    except ValueError:  # its quotes do not end: somebody has changed it
        words = []
    return {name[2:]: value for name, value in pairwise(words) if name.startswith("--") and name != "--write"}


def rendered_workflows(options: WorkflowOptions, projects: Collection[str]) -> dict[str, str]:
    """Return the text of each file by its name."""
    parts = {
        VALIDATE: VALIDATE_TEXT,
        PROMOTE: PROMOTE_TEXT + "\n".join(_job(PROMOTE_JOB, project, options) for project in projects),
        ROLLBACK: (
            ROLLBACK_TEXT.replace("<projects>", "".join(f"\n          - {_text(project)}" for project in projects))
            + "\n".join(_job(ROLLBACK_JOB, project, options) for project in projects)
        ),
    }
    values = {
        "<header>": HEADER.replace("<command>", options.command),
        "<checkout>": CHECKOUT,
        "<file>": options.file,
        "<action>": options.action,
        "<runs-on>": _runners(options),
        "<branch>": options.branch,
        "<branch-text>": _text(options.branch),
    }
    return {name: _filled(text, values) for name, text in parts.items()}


def _runners(options: WorkflowOptions) -> str:
    """Return the value of `runs-on:`: one label, several labels that a runner must all have, or a runner group."""
    labels = [_text(label) for label in options.runs_on.split(",")]
    text = labels[0] if len(labels) == 1 else f"[{', '.join(labels)}]"
    if not options.runner_group:
        return f" {text}"
    of_group = "" if options.runs_on == RUNS_ON else f"\n      labels: {text}"
    return f"\n      group: {_text(options.runner_group)}{of_group}"


def _text(word: str) -> str:
    """Return a word as YAML reads it as text: `on` and `1.0` need quotes."""
    return word if yaml.safe_load(word) == word else f'"{word}"'


def secrets_of_jobs(text: str) -> frozenset[str]:
    """Return the secrets PROJECT_ID_... that a workflow's jobs name or do without. Raises YAMLError, RecursionError."""
    document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  it makes nothing but strings, lists and mappings
    jobs = document.get("jobs") if isinstance(document, dict) else None
    named = (name for value in _strings(jobs, set()) for name in SECRET.findall(value))
    return frozenset([*named, *_without_secret(jobs)])


def _without_secret(jobs: Any) -> Iterator[str]:
    """Yield the name of the token variable of each job that asks GitHub for a token instead."""
    for name, job in jobs.items() if isinstance(jobs, dict) else ():
        permissions = job.get("permissions") if isinstance(job, dict) else None
        if isinstance(permissions, dict) and permissions.get("id-token") == "write" and name.startswith(JOB):
            yield project_variable(name.removeprefix(JOB))


def _strings(value: Any, seen: set[int]) -> Iterator[str]:
    """Yield the texts of a document. An alias is the object of its anchor, which is looked at once: `seen` has ids."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list) and id(value) not in seen:
        seen.add(id(value))
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner, seen)


def _job(text: str, project: str, options: WorkflowOptions) -> str:
    """Return the job of one project, which names the project's own secret and environment, or asks for a token."""
    name = (options.environment or "").replace(EACH_PROJECT, project)
    values = {
        "<project>": project,
        "<environment>": f"    environment: {_text(name)}\n" if name else "",
        "<permissions>": OIDC_PERMISSIONS if options.oidc_audience else "",
        "<credential>": "" if options.oidc_audience else SECRET_VARIABLE,
        "<secret>": project_variable(project),
        "<oidc>": f" \\\n            --oidc-audience={options.oidc_audience}" if options.oidc_audience else "",
    }
    return _filled(text, values)


def _filled(text: str, values: Mapping[str, str]) -> str:
    for name, value in values.items():
        text = text.replace(name, value)
    return text


# By its commit: a tag can be moved.
CHECKOUT: Final = "actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"

HEADER: Final = """\
# Written by `<command>`.
# Run it again when a project comes or goes; it writes over what was changed by hand.
"""

VALIDATE_TEXT: Final = """\
<header>name: Check models

# Without `paths`, so that branch protection can require it. It sees no secret: a pull request from a fork may run it.
on:
  pull_request:
  merge_group:

permissions:
  contents: read

jobs:
  validate:
    runs-on: ubuntu-24.04 # needs no gate, so what a fork may start stays off other runners
    timeout-minutes: 10
    steps:
      - uses: <checkout>
        with:
          fetch-depth: 2 # the merge, and what it is merged into
          persist-credentials: false
      - uses: <action>
      - name: Check the file, and say what it changes
        run: model-api validate <file> --base HEAD^1 --format github
"""

PROMOTE_TEXT: Final = """\
<header>name: Promote models

on:
  push:
    branches: [<branch-text>]
    paths: [<file>]
  workflow_dispatch:

permissions:
  contents: read

# Shared with the rollbacks, so that two never move versions at once. None is stopped half way. Of those that wait only
# the last one runs: a promotion has the whole file, so nothing is left out; a rollback that was replaced is started
# again.
concurrency:
  group: model-versions
  cancel-in-progress: false

jobs:
"""

OIDC_PERMISSIONS: Final = """\
    permissions:
      contents: read
      id-token: write # the job's own token, which the gate checks: no secret is stored
"""

SECRET_VARIABLE: Final = """\
          MLFLOW_TRACKING_TOKEN: ${{ secrets.<secret> }}
"""

PROMOTE_JOB: Final = """\
  project-<project>:
    name: Project <project>
    if: github.ref == 'refs/heads/<branch>'
    runs-on:<runs-on>
<environment><permissions>    timeout-minutes: 30
    steps:
      - uses: <checkout>
        with:
          persist-credentials: false
      - uses: <action>
      - name: Promote
        env:
          MLFLOW_TRACKING_URI: ${{ vars.MLFLOW_TRACKING_URI }}
<credential>        run: |
          model-api promote <file> \\
            --only <project> --commit "$GITHUB_SHA" --format github<oidc>
"""

ROLLBACK_TEXT: Final = """\
<header>name: Roll a model back

on:
  workflow_dispatch:
    inputs:
      project:
        description: Id of the model's project
        type: choice
        required: true
        options:<projects>
      model:
        description: Name of the registered model
        type: string
        required: true
      version:
        description: Version that is to serve again
        type: string
        required: true
        default: previous
      reason:
        description: Why, for the version's tags and the audit log
        type: string
        required: true

permissions:
  contents: read

# Shared with the promotions, so that two never move versions at once. Of those that wait only the last one runs.
concurrency:
  group: model-versions
  cancel-in-progress: false

jobs:
"""

# A person's input reaches the shell as a variable: the shell would execute an expression in `run`.
ROLLBACK_JOB: Final = """\
  project-<project>:
    name: Project <project>
    if: github.ref == 'refs/heads/<branch>' && inputs.project == '<project>'
    runs-on:<runs-on>
<environment><permissions>    timeout-minutes: 30
    steps:
      - uses: <action>
      - name: Roll back
        env:
          MLFLOW_TRACKING_URI: ${{ vars.MLFLOW_TRACKING_URI }}
<credential>          MODEL: ${{ inputs.model }}
          VERSION: ${{ inputs.version }}
          REASON: ${{ inputs.reason }}
        run: |
          model-api rollback --project <project> --model="$MODEL" \\
            --to="$VERSION" --reason="$REASON" --format github<oidc>
"""
