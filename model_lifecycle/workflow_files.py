"""The workflows of a project on GitHub, as text, and what can be read from it again.

GitHub gives a job only secrets that its file names, so each project of the promotion file has a job that names its own.
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

# What stands in a workflow unquoted, and in a shell as it is.
FILE: Final = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9_./-]*")
ACTION: Final = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_./-]+@[0-9a-f]{40}")
WORD: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
RUNS_ON: Final = "ubuntu-24.04"
COMMAND: Final = re.compile(r"^# Written by `(model-api workflow [^`]*)`", re.MULTILINE)
SECRET: Final = re.compile(r"\$\{\{ *secrets\.(PROJECT_ID_[0-9A-F]{24}) *\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Choices:
    """What the promotion file does not say. `action` is OWNER/REPO@COMMIT, the place of this project's `action.yml`."""

    file: str
    action: str
    runs_on: str = RUNS_ON
    environment: str | None = None

    @property
    def command(self) -> str:
        """What writes the same again. It stands in the files, which remember the choices by it."""
        words = ["model-api", "workflow", self.file, "--write", "--action", self.action]
        words += ["--runs-on", self.runs_on] if self.runs_on != RUNS_ON else []
        words += ["--environment", self.environment] if self.environment else []
        return shlex.join(words)


def remembered(text: str) -> Mapping[str, str]:
    """The options of the command that wrote a file, by name; none where it was written by hand."""
    found = COMMAND.search(text)
    words = shlex.split(found[1]) if found else []
    return {name[2:]: value for name, value in pairwise(words) if name.startswith("--") and name != "--write"}


def written(choices: Choices, projects: Collection[str]) -> dict[str, str]:
    """Each file's text by its name."""
    parts = {
        VALIDATE: VALIDATE_TEXT,
        PROMOTE: PROMOTE_TEXT + "\n".join(_job(PROMOTE_JOB, project) for project in projects),
        ROLLBACK: ROLLBACK_TEXT.replace("<projects>", "".join(f"\n          - {project}" for project in projects))
        + "\n".join(_job(ROLLBACK_JOB, project) for project in projects),
    }
    environment = f"    environment: {choices.environment}\n" if choices.environment else ""
    values = {
        "<header>": HEADER.replace("<command>", choices.command),
        "<checkout>": CHECKOUT,
        "<file>": choices.file,
        "<action>": choices.action,
        "<runs-on>": choices.runs_on,
        "<environment>": environment,
    }
    return {name: _filled(text, values) for name, text in parts.items()}


def secrets_of_jobs(text: str) -> frozenset[str]:
    """The secrets PROJECT_ID_... that jobs of a workflow name. Raises yaml.YAMLError."""
    document = yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506  it makes nothing but strings, lists and mappings
    jobs = document.get("jobs") if isinstance(document, dict) else None
    return frozenset(name for value in _strings(jobs) for name in SECRET.findall(value))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def _job(text: str, project: str) -> str:
    return _filled(text, {"<project>": project, "<secret>": project_variable(project)})


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
    branches: [main]
    paths: [<file>]
  workflow_dispatch:

permissions:
  contents: read

# None is stopped half way. Of those that wait only the last one runs: it has the whole file, so nothing is left out.
concurrency:
  group: model-promote
  cancel-in-progress: false

jobs:
"""

PROMOTE_JOB: Final = """\
  project-<project>:
    name: Project <project>
    if: github.ref == 'refs/heads/main'
    runs-on: <runs-on>
<environment>    timeout-minutes: 30
    steps:
      - uses: <checkout>
        with:
          persist-credentials: false
      - uses: <action>
      - name: Promote
        env:
          MLFLOW_TRACKING_URI: ${{ vars.MLFLOW_TRACKING_URI }}
          MLFLOW_TRACKING_TOKEN: ${{ secrets.<secret> }}
        run: |
          model-api promote <file> \\
            --only <project> --commit "$GITHUB_SHA" --format github
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

concurrency:
  group: model-rollback-${{ inputs.model }}
  cancel-in-progress: false

jobs:
"""

# What a person types reaches the shell as a variable: an expression in `run` would be read by the shell.
ROLLBACK_JOB: Final = """\
  project-<project>:
    name: Project <project>
    if: github.ref == 'refs/heads/main' && inputs.project == '<project>'
    runs-on: <runs-on>
<environment>    timeout-minutes: 30
    steps:
      - uses: <action>
      - name: Roll back
        env:
          MLFLOW_TRACKING_URI: ${{ vars.MLFLOW_TRACKING_URI }}
          MLFLOW_TRACKING_TOKEN: ${{ secrets.<secret> }}
          MODEL: ${{ inputs.model }}
          VERSION: ${{ inputs.version }}
          REASON: ${{ inputs.reason }}
        run: |
          model-api rollback --project <project> --model="$MODEL" \\
            --to="$VERSION" --reason="$REASON" --format github
"""
