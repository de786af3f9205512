"""Service tokens on a real Secret: made, delivered, replaced, copied to pods, ended."""

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_contract.names import PROJECT_TOKENS_SECRETS, TOKEN_KEY, pull_secret
from model_contract.tokens import Purpose, parse_token
from testbed.cluster.kube import Kube, decoded
from testbed.lifecycle import MODULES
from testbed.processes import completed, installed

NAMESPACE, COMPUTE = "tokens", "tokens-compute"
PROJECT, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"
SECRET = PROJECT_TOKENS_SECRETS[0]
# Records how it was called, and what it read; as GitHub's own would, it says nothing of the value.
GH = """#!/bin/sh
printf '%s\\n' "$@" > "$GH_CALLS/arguments"
tr '\\0' ' ' < /proc/$$/cmdline > "$GH_CALLS/cmdline"
cat > "$GH_CALLS/value"
exit "${GH_EXIT:-0}"
"""


@pytest.fixture(scope="module")
def namespaces(kube: Kube) -> Iterator[Kube]:
    """Namespaces of their own, since the quickstart's MLflow has no tokens."""
    names = (NAMESPACE, COMPUTE)
    kube.apply(*({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names))
    yield kube
    kube("delete", "namespace", *names, "--wait=false")


@pytest.fixture
def tokens(namespaces: Kube) -> Iterator[Kube]:
    yield namespaces
    for name in (NAMESPACE, COMPUTE):
        namespaces("-n", name, "delete", "secret", "--all")


def run(kube: Kube, *arguments: str | Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    command = [installed("model-api"), "token", *arguments]
    if arguments[0] != "sync":
        command.append(f"--namespace={NAMESPACE}")
    else:
        command += [f"--namespace={NAMESPACE}", f"--to={COMPUTE}"]
    return completed(command, env={**kube.environment, **environment}, imported=MODULES)


def secret(kube: Kube, name: str = SECRET, namespace: str = NAMESPACE) -> dict[str, str]:
    return decoded(kube.get("-n", namespace, "secret", name)["data"])


def test_tokens_are_made_delivered_replaced_copied_and_ended(tokens: Kube, tmp_path: Path) -> None:
    said = []

    def done(*arguments: str | Path) -> str:
        ended = run(tokens, *arguments)
        assert ended.returncode == 0, ended.stderr
        said.append(ended.stdout + ended.stderr)
        return ended.stdout

    out = tmp_path / "token"
    done("create", "-i", PROJECT.upper(), "-n", "wine", "-o", "jane", "--ttl", "90d", "--out", out)
    first = secret(tokens)
    assert out.read_text().strip() == first[f"{PROJECT}.apikey"]
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    assert parse_token(first[f"{PROJECT}.pull"]).purpose is Purpose.PULL

    done("create", "-i", OTHER, "--scope", "pull")
    assert f"{PROJECT}.apikey" in done("verify", "--token-file", out)
    done("rotate", "-i", PROJECT, "--out", tmp_path / "rotated")
    assert all(
        "  until " in line for line in done("list").splitlines()
    )  # rotated as install-gate.md writes it: as long as before
    assert "without an end" in done("create", "-i", f"{7:024x}", "--scope", "pull", "--ttl", "never")
    second = secret(tokens)
    assert second[f"{PROJECT}.apikey.prev"] == first[f"{PROJECT}.apikey"] != second[f"{PROJECT}.apikey"]
    assert secret(tokens)[f"{OTHER}.pull"] == second[f"{OTHER}.pull"]

    done("sync")
    assert secret(tokens, pull_secret(PROJECT), COMPUTE) == {TOKEN_KEY: second[f"{PROJECT}.pull"]}
    assert "as it should be" in done("sync")
    done("revoke", "-i", OTHER)
    assert f"{pull_secret(OTHER)}: removed" in done("sync", "--prune")
    listed = done("list")
    assert f"{PROJECT}.apikey.prev" in listed
    assert OTHER not in listed
    values = {value for held in (first, second) for key, value in held.items() if not key.endswith("meta")}
    assert not [value for value in values if value in "".join(said)]


def test_older_name_of_the_secret_is_kept(tokens: Kube, tmp_path: Path) -> None:
    """Start from a Secret with the contents that the original wrote."""
    older = PROJECT_TOKENS_SECRETS[1]
    tokens("-n", NAMESPACE, "create", "secret", "generic", older, f"--from-literal={OTHER}.apikey=eyJ.e30.x")
    assert run(tokens, "create", "-i", PROJECT, "--out", tmp_path / "token").returncode == 0

    assert secret(tokens, older).keys() == {
        f"{OTHER}.apikey",
        f"{PROJECT}.apikey",
        f"{PROJECT}.pull",
        f"{PROJECT}.meta",
    }
    assert "legacy, to be replaced" in run(tokens, "list").stdout
    assert tokens.attempt("-n", NAMESPACE, "get", "secret", SECRET).returncode != 0


def test_sync_reports_that_it_replaces_a_token_made_by_hand(tokens: Kube) -> None:
    run(tokens, "create", "-i", PROJECT, "--scope", "pull")
    tokens("-n", COMPUTE, "create", "secret", "generic", pull_secret(PROJECT), "--from-literal=token=by-hand")

    assert "replaced: it held another token" in run(tokens, "sync").stdout
    assert secret(tokens, pull_secret(PROJECT), COMPUTE)[TOKEN_KEY] == secret(tokens)[f"{PROJECT}.pull"]


def test_two_at_once_lose_nothing(tokens: Kube) -> None:
    run(tokens, "create", "-i", PROJECT, "--scope", "pull")
    projects = [f"{number:024x}" for number in range(6)]
    command = [installed("model-api"), "token", "create", f"--namespace={NAMESPACE}", "--scope=pull", "-i"]
    running = [
        subprocess.Popen([*command, project], env=tokens.environment, stdout=subprocess.DEVNULL) for project in projects
    ]

    assert [process.wait(timeout=120) for process in running] == [0] * len(projects)
    assert {f"{project}.pull" for project in projects} < secret(tokens).keys()


def test_github_reads_the_token_from_its_input(tokens: Kube, tmp_path: Path) -> None:
    gh = tmp_path / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(0o755)
    environment = {"PATH": f"{gh.parent}:{os.environ['PATH']}", "GH_CALLS": str(tmp_path)}
    done = run(tokens, "create", "-i", PROJECT, "--github", "acme/wine:production", **environment)
    value = secret(tokens)[f"{PROJECT}.apikey"]

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "arguments").read_text().split() == [
        *("secret", "set", f"PROJECT_ID_{PROJECT.upper()}", "--repo", "acme/wine", "--env", "production")
    ]
    assert (tmp_path / "value").read_text() == value
    assert value not in done.stdout + done.stderr + (tmp_path / "cmdline").read_text()
    failed = run(tokens, "rotate", "-i", PROJECT, "--github", "acme/wine", **environment, GH_EXIT="4")
    assert failed.returncode == 7
    assert "`model-api token rotate` makes another one" in failed.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["create", "-i", PROJECT], 2, "say where the promote token goes"),
        (["create", "-i", PROJECT, "--scope", "pull", "--out", "x"], 2, "are for the promote token"),
        (["create", "-i", PROJECT, "--out", "/no/such/file"], 3, "cannot be made: No such file or directory"),
        (["create", "-i", PROJECT, "--github", "acme/wine"], 7, "gh is not installed"),
        (["rotate", "-i", PROJECT, "--scope", "pull"], 6, "`model-api token create` makes it"),
        (["revoke", "-i", PROJECT], 6, "no token of project"),
        (["verify", "--token-file", "/dev/null"], 3, "is empty"),
        (["verify"], 4, "is not in the Secret"),
        (["list", "--context", "none"], 8, "no cluster"),
    ],
)
def test_error_of_a_command_is_one_sentence(tokens: Kube, arguments: list[str], code: int, sentence: str) -> None:
    done = run(tokens, *arguments, MLFLOW_TRACKING_TOKEN="unknown", PATH="/none")

    assert (done.returncode, sentence in done.stderr) == (code, True), done.stderr
    assert "Traceback" not in done.stderr
    assert tokens.attempt("-n", NAMESPACE, "get", "secret", SECRET).returncode != 0
