"""Run a workflow's jobs on this machine as GitHub's runner does: its `run:` blocks, in a checkout of their own.

`uses:` is followed into a composite action of ours, given as a folder. Of others there are two: `actions/checkout`,
which is git here too, and `actions/setup-python`, whose Python is this one.
"""

import itertools
import os
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

from testbed.github_workflow import Contexts, Event, WorkflowError, filled, holds, inputs_of, load, parse, starts

# GitHub's commands for a block, without `shell:` and with it.
SHELLS: Final = {"": ["bash", "-e"], "bash": ["bash", "--noprofile", "--norc", "-eo", "pipefail"]}
# Of this process's environment, what a runner's has not.
FOREIGN: Final = ("MLFLOW_", "GITHUB_", "ACTIONS_", "RUNNER_", "PYTHON", "VIRTUAL_ENV", "MODEL_API_")
# Of the contexts `github` and of the environment.
REPOSITORY: Final = {
    "repository": "Acme/mlflow-model-api",
    "repository_owner": "Acme",
    "server_url": "https://github.com",
    "actor": "testbed",
}

Yaml = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A block that was run, with its output."""

    name: str
    code: int
    output: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job that was run, up to the first step that failed."""

    name: str
    steps: tuple[Step, ...]
    summary: str

    @property
    def code(self) -> int:
        return next((step.code for step in self.steps if step.code), 0)

    @property
    def log(self) -> str:
        return "".join(step.output for step in self.steps)


@dataclass(frozen=True, slots=True, kw_only=True)
class GitHub:
    """A repository with its settings, and one runner for its jobs, below `directory`.

    `actions` are the folders of composite actions, by OWNER/REPO, with the folder in it if there is one. `identity` has
    the variables of a job whose permissions have `id-token: write`. RUNNER_TEMP is kept from job to job, while GitHub
    empties its own: what an action installs there is installed once.
    """

    repository: Path
    directory: Path
    actions: Mapping[str, Path]
    secrets: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)

    def run(self, workflow: str, event: Event, sha: str, *, left_out: Collection[str] = ()) -> tuple[Job, ...]:
        """Run the jobs that an event at a commit starts, if any, by the workflow file of that commit.

        A job that needs a failed one is not run. Those of `left_out` are not run either, and have not failed.
        """
        document = parse(git(self.repository, "show", f"{sha}:.github/workflows/{workflow}"))
        if not starts(document, event):
            return ()
        declared = (document["on"][event.name] or {}).get("inputs", {})
        contexts: Contexts = {
            "github": {"ref": event.ref, "sha": sha, "event_name": event.name, **REPOSITORY},
            "secrets": self.secrets,
            "vars": self.variables,
            "inputs": inputs_of(declared, event.inputs or {}),
        }
        jobs: Mapping[str, Yaml] = document["jobs"]
        rights = document.get("permissions", {})
        done: list[Job] = []
        stopped: set[str] = set()
        for name, job in jobs.items():
            if name in left_out or ("if" in job and not holds(job["if"], contexts)):
                continue
            needs = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
            known = {"permissions": rights, **job}
            found = [] if stopped & set(needs) else [self._job(name, known, inner) for inner in _matrix(job, contexts)]
            done += found
            if not found or any(one.code for one in found):
                stopped.add(name)
        return tuple(done)

    def _job(self, name: str, job: Yaml, contexts: Contexts) -> Job:
        if "uses" in job:
            raise WorkflowError(f"the job {name} calls another workflow, which is not known here")
        running = Running.new(self, contexts)
        if job["permissions"].get("id-token") == "write":
            running.environment |= self.identity
        running.steps_of(job["steps"], contexts, _filled(job.get("env", {}), contexts))
        return Job(name=name, steps=tuple(running.done), summary=running.summary.read_text(encoding="utf-8"))


def _matrix(job: Yaml, contexts: Contexts) -> Iterator[Contexts]:
    """Yield the contexts of each run of a job: one, or one for each combination of the lists of its matrix."""
    if unknown := set(job.get("strategy", {})) - {"matrix"}:
        raise WorkflowError(f"strategy: {', '.join(sorted(unknown))} is not known here")
    lists: Mapping[str, list[str]] = job.get("strategy", {}).get("matrix", {})
    if not all(isinstance(values, list) for values in lists.values()) or {"include", "exclude"} & set(lists):
        raise WorkflowError("strategy.matrix: only lists of values are known here")
    for values in itertools.product(*lists.values()):
        yield {**contexts, "matrix": dict(zip(lists, values, strict=True))}


@dataclass(slots=True, kw_only=True)
class Running:
    """A job under way: its folders, and the values that its steps pass to later ones."""

    github: GitHub
    workspace: Path
    temporary: Path
    summary: Path
    environment: dict[str, str]
    done: list[Step] = field(default_factory=list)

    @classmethod
    def new(cls, github: GitHub, contexts: Contexts) -> "Running":
        room = Path(mkdtemp(prefix="job-", dir=github.directory))
        workspace, temporary, summary = room / "workspace", github.directory / "temp", room / "summary.md"
        workspace.mkdir()
        temporary.mkdir(exist_ok=True)
        summary.touch()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        own = {name: str(contexts["github"][name.lower()]) for name in ("SHA", "REF", "EVENT_NAME")}
        own |= {name.upper(): value for name, value in REPOSITORY.items()} | {"REF_NAME": own["REF"].split("/", 2)[2]}
        files = {"GITHUB_STEP_SUMMARY": summary, "GITHUB_WORKSPACE": workspace, "RUNNER_TEMP": temporary}
        environment = (
            kept | {"CI": "true", "GITHUB_ACTIONS": "true"} | {f"GITHUB_{name}": value for name, value in own.items()}
        )
        environment |= {name: str(path) for name, path in files.items()}
        return cls(github=github, workspace=workspace, temporary=temporary, summary=summary, environment=environment)

    def steps_of(
        self, steps: list[Yaml], contexts: Contexts, environment: Mapping[str, str]
    ) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """Run the steps of a job, or of a composite action, and return the outputs of those with an id."""
        outputs: dict[str, Any] = {}
        for step in steps:
            inner = {**contexts, "steps": outputs}
            if any(one.code for one in self.done) or ("if" in step and not holds(step["if"], inner)):
                continue
            own = {**environment, **_filled(step.get("env", {}), inner)}
            found = self._uses(step, inner, own) if "uses" in step else self._block(step, own)
            outputs[step.get("id", "")] = {"outputs": found}
        return outputs

    def _uses(self, step: Yaml, contexts: Contexts, environment: Mapping[str, str]) -> Mapping[str, str]:
        name, given = step["uses"].partition("@")[0], _filled(step.get("with", {}), contexts)
        if name == "actions/checkout":
            self._checkout(given)
        elif name == "actions/setup-python":
            return {"python-path": sys.executable}
        elif name in self.github.actions:
            folder = self.github.actions[name]
            action = load(folder / "action.yml")
            seen = {
                "github": {**contexts["github"], "action_path": str(folder)},
                "inputs": inputs_of(action["inputs"], given),
            }
            steps = self.steps_of(action["runs"]["steps"], seen, environment)
            declared = {key: output["value"] for key, output in action.get("outputs", {}).items()}
            return _filled(declared, {**seen, "steps": steps})
        else:
            raise WorkflowError(f"the action {name} is not known here")
        return {}

    def _checkout(self, given: Mapping[str, str]) -> None:
        """Check the commit out, with the history that was asked for."""
        sha, depth = self.environment["GITHUB_SHA"], given.get("fetch-depth", "1")
        fetch = [
            "fetch",
            "--quiet",
            *([f"--depth={depth}"] if depth != "0" else []),
            self.github.repository.as_uri(),
            sha,
        ]
        for command in (["init", "--quiet"], fetch, ["checkout", "--quiet", sha]):
            git(self.workspace, *command)

    def _block(self, step: Yaml, environment: Mapping[str, str]) -> Mapping[str, str]:
        script, output, path = (self.temporary / name for name in ("block.sh", "output", "path"))
        script.write_text(step["run"], encoding="utf-8")
        output.write_text("", encoding="utf-8")
        path.write_text("", encoding="utf-8")
        files = {"GITHUB_OUTPUT": str(output), "GITHUB_PATH": str(path)}
        command: list[str | Path] = [*SHELLS[step.get("shell", "")], script]
        seen = self.environment | dict(environment) | files
        ended = subprocess.run(
            command,
            cwd=self.workspace,
            env=seen,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        self.done.append(
            Step(name=step.get("name", step["run"].splitlines()[0]), code=ended.returncode, output=ended.stdout)
        )
        self.environment["PATH"] = os.pathsep.join(
            [*reversed(path.read_text(encoding="utf-8").split()), self.environment["PATH"]]
        )
        return dict(line.split("=", 1) for line in output.read_text(encoding="utf-8").splitlines())


def git(folder: Path, *arguments: str) -> str:
    """Return git's output. Raises CalledProcessError."""
    command = ["git", "-C", str(folder), "-c", "user.name=Jane", "-c", "user.email=jane@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _filled(values: Mapping[str, str], contexts: Contexts) -> dict[str, str]:
    return {name: filled(text, contexts) for name, text in values.items()}
