"""`model-api workflow`, and `validate` in a repository whose workflow does not fit its file."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from model_lifecycle.cli import main
from model_lifecycle.workflow_files import (
    FOLDER,
    NAMES,
    WorkflowOptions,
    options_in,
    rendered_workflows,
    secrets_of_jobs,
)
from testbed.actionlint.__main__ import actionlint
from testbed.github_workflow import parse
from testbed.processes import installed

PROJECT, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"
SECRETS = ("PROJECT_ID_66C0A1B2C3D4E5F601234567", "PROJECT_ID_WINE_TEAM_2")
FILE = "scripts/model_version.json"
ACTION = "acme/mlflow-model-api@" + "0123456789" * 4
EXAMPLE = Path(__file__).parents[2] / "examples" / "domino-project"

Run = Callable[..., Result]


def promotion_file(repository: Path, *projects: str) -> None:
    path = repository / FILE
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({project: [{"name": f"model-of-{project}", "version": 1}] for project in projects}))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    promotion_file(tmp_path, PROJECT)
    return tmp_path


@pytest.fixture
def run(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(repository)
    return lambda *arguments: CliRunner().invoke(main, arguments)


def jobs_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = parse(text)["jobs"]
    return found


def test_each_project_has_a_job_that_names_its_own_secret() -> None:
    files = rendered_workflows(WorkflowOptions(file=FILE, action=ACTION), [PROJECT, OTHER])

    for name in ("model-promote.yml", "model-rollback.yml"):
        jobs = jobs_of(files[name])
        tokens = [
            step["env"]["MLFLOW_TRACKING_TOKEN"] for job in jobs.values() for step in job["steps"] if "run" in step
        ]
        assert tokens == [f"${{{{ secrets.{secret} }}}}" for secret in SECRETS]
        assert secrets_of_jobs(files[name]) == set(SECRETS)


@pytest.mark.parametrize("project", ["on", "1e3", "0x1f", "123456789012345678901234", "null", "2026-11-29"])
def test_project_that_looks_like_no_text_to_yaml_stays_its_text(project: str) -> None:
    text = rendered_workflows(WorkflowOptions(file=FILE, action=ACTION), [project])["model-rollback.yml"]

    document = yaml.safe_load(text)
    triggers = document.get("on", document.get(True))  # YAML 1.1 reads `on` as true; GitHub does not
    assert triggers["workflow_dispatch"]["inputs"]["project"]["options"] == [project]
    assert list(document["jobs"]) == [f"project-{project}"]


def test_pull_request_is_checked_without_a_secret_and_away_from_own_runners() -> None:
    text = rendered_workflows(WorkflowOptions(file=FILE, action=ACTION, runs_on="inside"), [PROJECT])[
        "model-validate.yml"
    ]

    assert "runs-on: ubuntu-24.04" in text
    assert "secrets" not in text
    assert "vars" not in text
    assert "pull_request_target" not in text


@pytest.mark.parametrize("name", NAMES)
def test_workflow_takes_no_more_than_it_needs(name: str) -> None:
    text = rendered_workflows(WorkflowOptions(file=FILE, action=ACTION), [PROJECT, OTHER])[name]
    document = parse(text)
    steps = [step for job in document["jobs"].values() for step in job["steps"]]

    assert document["permissions"] == {"contents": "read"}
    assert document.get("concurrency", {}).get("cancel-in-progress", "false") == "false"
    assert all(int(job["timeout-minutes"]) <= 30 for job in document["jobs"].values())
    assert [step["uses"] for step in steps if "uses" in step and not re.search(r"@[0-9a-f]{40}$", step["uses"])] == []
    assert [
        step
        for step in steps
        if step.get("uses", "").startswith("actions/checkout") and step["with"]["persist-credentials"] != "false"
    ] == []
    assert [step["run"] for step in steps if "${{" in step.get("run", "")] == []


def test_written_once_it_remembers_its_choices(run: Run, repository: Path) -> None:
    first = run("workflow", FILE, "--write", "--action", ACTION, "--environment", "production", "--runs-on", "inside")
    promotion_file(repository, PROJECT, OTHER)
    again = run("workflow", FILE, "--write")

    text = (repository / ".github/workflows/model-promote.yml").read_text()
    assert (first.exit_code, again.exit_code) == (0, 0), first.stderr + again.stderr
    assert options_in(text) == {"action": ACTION, "environment": "production", "runs-on": "inside"}
    assert [(job["runs-on"], job["environment"]) for job in jobs_of(text).values()] == [("inside", "production")] * 2


def test_each_project_has_its_own_environment(run: Run, repository: Path) -> None:
    promotion_file(repository, PROJECT, OTHER)
    done = run("workflow", FILE, "--write", "--action", ACTION, "--environment", "production-{project}")
    again = run("workflow", FILE, "--check")

    assert (done.exit_code, done.stderr, again.exit_code) == (0, "", 0)
    for name in ("model-promote.yml", "model-rollback.yml"):
        text = (repository / ".github/workflows" / name).read_text()
        assert [job["environment"] for job in jobs_of(text).values()] == [
            f"production-{PROJECT}",
            f"production-{OTHER}",
        ]


def test_environment_of_several_projects_is_warned_of(run: Run, repository: Path) -> None:
    promotion_file(repository, PROJECT, OTHER)
    done = run("workflow", FILE, "--write", "--action", ACTION, "--environment", "production")

    assert done.exit_code == 0
    assert "`--environment 'production-{project}'` gives each its own" in done.stderr


RUNNERS = {
    "one label": (["--runs-on", "inside"], "inside"),
    "labels": (["--runs-on", "self-hosted,linux,1.0"], ["self-hosted", "linux", "1.0"]),
    "a group": (["--runner-group", "models"], {"group": "models"}),
    "a group and labels": (
        ["--runner-group", "models", "--runs-on", "linux,x64"],
        {"group": "models", "labels": ["linux", "x64"]},
    ),
}


@pytest.mark.parametrize(("options", "wanted"), RUNNERS.values(), ids=RUNNERS)
def test_runners_are_named_by_labels_and_group(run: Run, repository: Path, options: list[str], wanted: Any) -> None:
    done = run("workflow", FILE, "--write", "--action", ACTION, *options)
    again = run("workflow", FILE, "--check")

    assert (done.exit_code, again.exit_code) == (0, 0), done.stderr + again.stderr
    for name in ("model-promote.yml", "model-rollback.yml"):
        text = (repository / ".github/workflows" / name).read_text()
        assert [job["runs-on"] for job in yaml.safe_load(text)["jobs"].values()] == [wanted]


@pytest.mark.parametrize("branch", ["master", "release/2026", "on", "1.0"])
def test_branch_is_the_only_one_whose_file_is_promoted(run: Run, repository: Path, branch: str) -> None:
    done = run("workflow", FILE, "--write", "--action", ACTION, "--branch", branch)
    again = run("workflow", FILE, "--check")

    promote, rollback = (
        (repository / f".github/workflows/model-{name}.yml").read_text() for name in ("promote", "rollback")
    )
    assert (done.exit_code, again.exit_code) == (0, 0), done.stderr + again.stderr
    assert yaml.safe_load(promote)[True]["push"]["branches"] == [branch]  # YAML 1.1 reads `on` as true
    assert all(
        f"github.ref == 'refs/heads/{branch}'" in job["if"]
        for text in (promote, rollback)
        for job in jobs_of(text).values()
    )
    assert "main" not in re.findall(r"[a-z]+", promote.replace("mlflow-model-api", ""))


def test_jobs_with_an_audience_ask_for_a_token_and_name_no_secret(run: Run, repository: Path) -> None:
    promotion_file(repository, PROJECT, OTHER)
    done = run("workflow", FILE, "--write", "--action", ACTION, "--oidc-audience", "model-api-gate")
    again = run("workflow", FILE, "--check")
    files = [repository / ".github/workflows" / name for name in NAMES]

    assert (done.exit_code, again.exit_code) == (0, 0), done.stderr + again.stderr
    assert run("validate", FILE).exit_code == 0
    assert all("secrets" not in jobs_text(file.read_text()) for file in files)
    for name in ("model-promote.yml", "model-rollback.yml"):
        text = (repository / ".github/workflows" / name).read_text()
        assert parse(text)["permissions"] == {"contents": "read"}
        for job in jobs_of(text).values():
            assert job["permissions"] == {"contents": "read", "id-token": "write"}
            assert job["steps"][-1]["run"].rstrip().endswith("--format github \\\n  --oidc-audience=model-api-gate")
    assert "id-token" not in (repository / ".github/workflows/model-validate.yml").read_text()
    assert actionlint(files) == 0


def jobs_text(text: str) -> str:
    return text.partition("jobs:")[2]


def test_job_that_may_ask_for_a_token_is_of_its_own_project(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION, "--oidc-audience", "model-api-gate")
    promotion_file(repository, PROJECT, OTHER)
    done = run("validate", FILE)

    assert done.exit_code == 3
    assert f'$["{OTHER}"]: has no job' in done.stderr
    assert PROJECT not in done.stderr


def test_audience_is_taken_away_by_an_empty_one(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION, "--oidc-audience", "model-api-gate")
    done = run("workflow", FILE, "--write", "--oidc-audience", "")

    text = (repository / ".github/workflows/model-promote.yml").read_text()
    assert done.exit_code == 0, done.stderr
    assert "id-token" not in text
    assert SECRETS[0] in text


def test_promotion_and_rollback_wait_for_each_other() -> None:
    files = rendered_workflows(WorkflowOptions(file=FILE, action=ACTION), [PROJECT, OTHER])
    groups = [parse(files[name])["concurrency"]["group"] for name in ("model-promote.yml", "model-rollback.yml")]

    assert groups == ["model-versions"] * 2


def test_environment_is_taken_away_by_an_empty_name(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION, "--environment", "production")
    done = run("workflow", FILE, "--write", "--environment", "")

    assert done.exit_code == 0, done.stderr
    assert "environment" not in (repository / ".github/workflows/model-promote.yml").read_text()


def test_current_files_are_left_alone(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION)
    before = {path: path.stat().st_mtime_ns for path in repository.glob(".github/workflows/*")}
    again = run("workflow", FILE, "--write")

    assert again.stdout.count("is as it was") == 3
    assert {path: path.stat().st_mtime_ns for path in repository.glob(".github/workflows/*")} == before
    assert run("workflow", FILE, "--check").exit_code == 0


def test_file_that_differs_is_named_with_the_command_that_mends_it(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION)
    (repository / ".github/workflows/model-rollback.yml").unlink()
    promotion_file(repository, PROJECT, OTHER)
    done = run("workflow", FILE, "--check")

    assert done.exit_code == 6
    assert "model-promote.yml, .github/workflows/model-rollback.yml; run `model-api workflow" in done.stderr
    assert "model-validate.yml" not in done.stderr
    assert run(*re.findall(r"`model-api ([^`]+)`", done.stderr)[0].split()).exit_code == 0
    assert run("workflow", FILE, "--check").exit_code == 0


def test_project_without_a_job_is_a_mistake_of_the_file(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION)
    promotion_file(repository, PROJECT, OTHER)
    done = run("validate", FILE)

    assert done.exit_code == 3
    assert done.stderr.startswith(
        f'{FILE}: $["{OTHER}"]: has no job in .github/workflows/model-promote.yml; `model-api workflow {FILE} --write`'
    )
    assert PROJECT not in done.stderr


def test_secret_in_a_comment_is_no_job(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION)
    path = repository / ".github/workflows/model-promote.yml"
    path.write_text(re.sub(r"(?m)^(.*secrets\.)", r"#\1", path.read_text()))

    assert run("validate", FILE).exit_code == 3


def test_repository_without_a_workflow_needs_no_job(run: Run) -> None:
    assert run("validate", FILE).exit_code == 0


UNREADABLE = {
    "no YAML": (b"jobs: [", "while parsing a flow node"),
    "deep YAML": (b"jobs: " + b"[" * 2000, "it is nested too deep"),
    "Latin-1": (b"# Gr\xf6\xdfe\n", "it is no UTF-8"),
    "a folder": (None, "Is a directory"),
}


@pytest.mark.parametrize(("content", "reason"), UNREADABLE.values(), ids=UNREADABLE)
def test_workflow_that_cannot_be_read_is_reported(
    run: Run, repository: Path, content: bytes | None, reason: str
) -> None:
    (repository / FOLDER).mkdir(parents=True)
    path = repository / FOLDER / "model-promote.yml"
    path.mkdir() if content is None else path.write_bytes(content)
    done = run("validate", FILE)

    assert done.exit_code == 3
    assert f"model-promote.yml cannot be read: {reason}" in done.stderr
    if reason.startswith(("it is no UTF-8", "Is a")):
        assert run("workflow", FILE, "--check", "--action", ACTION).exit_code == 3


def test_aliases_of_a_workflow_are_followed_once(run: Run, repository: Path) -> None:
    """Ten levels of nine aliases each stand for three and a half billion texts."""
    levels = [f"l{number}: &l{number} [{', '.join([f'*l{number - 1}'] * 9)}]\n" for number in range(1, 11)]
    (repository / FOLDER).mkdir(parents=True)
    text = f"l0: &l0 [x]\n{''.join(levels)}jobs: *l10\n"
    (repository / FOLDER / "model-promote.yml").write_text(text)

    assert "has no job in" in run("validate", FILE).stderr


def test_header_with_a_quote_that_does_not_end_says_nothing(run: Run, repository: Path) -> None:
    run("workflow", FILE, "--write", "--action", ACTION)
    path = repository / FOLDER / "model-promote.yml"
    path.write_text(path.read_text().replace("model-api workflow", "model-api workflow '"))

    assert "name the action" in run("workflow", FILE, "--check").stderr
    assert run("workflow", FILE, "--write", "--action", ACTION).exit_code == 0


BAD = {
    "no action": ([FILE], 2, "--action OWNER/REPO@COMMIT"),
    "a tag": ([FILE, "--action", "acme/mlflow-model-api@v1"], 3, "a tag can be moved"),
    "an action with a line break": ([FILE, "--action", f"{ACTION}\n"], 3, "by its commit"),
    "an environment with a colon": (
        [FILE, "--action", ACTION, "--environment", "a: b"],
        3,
        "cannot stand in a workflow",
    ),
    "an expression as environment": (
        [FILE, "--action", ACTION, "--environment", "${{ github.actor }}"],
        3,
        "cannot stand in a workflow",
    ),
    "a branch as pattern": ([FILE, "--action", ACTION, "--branch", "release/**"], 3, "--branch"),
    "a branch that closes the text": ([FILE, "--action", ACTION, "--branch", "a'"], 3, "--branch"),
    "an audience with a quote": ([FILE, "--action", ACTION, "--oidc-audience", "a'b"], 3, "--oidc-audience"),
    "an empty label": ([FILE, "--action", ACTION, "--runs-on", "a,,b"], 3, "--runs-on"),
    "a file above": ([f"../{FILE}", "--action", ACTION], 3, "in the repository's top directory"),
    "a file with a shell's signs": (["$(id).json", "--action", ACTION], 3, "cannot stand in a workflow"),
    "no file": (["none.json", "--action", ACTION], 3, "cannot be read: No such file"),
    "write and check": ([FILE, "--write", "--check"], 2, "either --write or --check"),
}


@pytest.mark.parametrize(("arguments", "code", "sentence"), BAD.values(), ids=BAD)
def test_workflow_that_cannot_be_written_is_reported(run: Run, arguments: list[str], code: int, sentence: str) -> None:
    done = run("workflow", *arguments)

    assert done.exit_code == code
    assert sentence in done.stderr


def test_folder_in_which_github_reads_no_workflows_is_warned_of(run: Run, repository: Path, tmp_path: Path) -> None:
    """A folder below the top of a repository, as after `cd scripts`."""
    (tmp_path / ".git").mkdir()
    at_top = run("workflow", FILE, "--action", ACTION, "--write")
    os.chdir(repository / "scripts")
    below = run("workflow", "model_version.json", "--action", ACTION, "--write")

    assert (at_top.exit_code, at_top.stderr, below.exit_code) == (0, "", 0)
    assert (
        below.stderr == f"Warning: GitHub reads no workflow but those in {tmp_path / FOLDER}: run this in {tmp_path}\n"
    )


@pytest.mark.parametrize("content", ["{}", "[]"])
def test_file_without_projects_has_no_workflow(run: Run, repository: Path, content: str) -> None:
    (repository / FILE).write_text(content)

    assert run("workflow", FILE, "--action", ACTION).exit_code == 3


def test_example_is_as_the_command_writes_it() -> None:
    done = subprocess.run(
        [installed("model-api"), "workflow", FILE, "--check"], cwd=EXAMPLE, capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, f"3 workflows fit {FILE}\n", "")
