"""`model-api token` at a real API server without a node: Secrets that it refuses to write, and two admins at once."""

import base64
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.names import pull_secret
from model_lifecycle.cluster import client_of, copy_pull_tokens
from model_lifecycle.errors import PartialError
from testbed.cluster.control_plane import ControlPlane, control_plane
from testbed.lifecycle import MODULES
from testbed.processes import completed, installed

PROJECT, OTHER = "66c0a1b2c3d4e5f601234567", "wine-team-2"
SECRETS: Final = "/api/v1/namespaces/default/secrets"
TOKENS: Final = {PROJECT: "one", OTHER: "two"}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with control_plane(tmp_path_factory.mktemp("plane")) as started:
        yield started


@pytest.fixture(autouse=True)
def _kubeconfig(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig))


def token(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return completed([installed("model-api"), "token", *arguments], env=dict(os.environ), imported=MODULES)


def secret(plane: ControlPlane, name: str, **fields: Any) -> None:
    plane.create(SECRETS, {"metadata": {"name": name}} | fields)


def copied(plane: ControlPlane, name: str) -> Any:
    return plane.client.get(f"{SECRETS}/{name}").raise_for_status().json()["data"]


@pytest.mark.parametrize(
    ("name", "fields", "sentence"),
    [
        ("fixed", {"immutable": True, "data": {"a": "YQ=="}}, "field is immutable when `immutable` is set"),
        ("full", {"stringData": {"a": "a" * ((1 << 20) - 100)}}, "may not be more than 1048576 bytes"),
    ],
    ids=["immutable", "full"],
)
def test_secret_that_cannot_be_changed_is_named_and_nothing_is_delivered(
    plane: ControlPlane, name: str, fields: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    secret(plane, name, **fields)
    out = tmp_path / "token"

    done = token(
        "create", f"--domino-project-id={PROJECT}", "--namespace=default", f"--secret-name={name}", f"--out={out}"
    )

    assert (done.returncode, sentence in done.stderr) == (ExitCode.PRECONDITION, True), done.stderr
    assert not out.exists()


def test_namespace_that_does_not_exist_is_named(tmp_path: Path) -> None:
    done = token("create", f"--domino-project-id={PROJECT}", "--namespace=nowhere", f"--out={tmp_path / 'token'}")

    assert (done.returncode, done.stderr) == (ExitCode.NOT_FOUND, 'Error: namespaces "nowhere" not found\n')


def test_copy_that_is_immutable_keeps_no_other_project_from_its_token(plane: ControlPlane) -> None:
    fixed, other = (pull_secret(project) for project in TOKENS)
    secret(plane, fixed, immutable=True, data={"token": "YQ=="})

    with client_of(None) as client, pytest.raises(PartialError, match=f'"{fixed}" is invalid.*immutable'):
        list(copy_pull_tokens(client, "default", TOKENS, prune=False))

    assert copied(plane, other) == {"token": base64.b64encode(b"two").decode()}


def test_two_admins_that_copy_at_once_both_end_well() -> None:
    tokens = {f"project-{number}": "x" for number in range(5)}

    def copy(_: int) -> list[tuple[str, str]]:
        with client_of(None) as client:
            return list(copy_pull_tokens(client, "default", tokens, prune=True))

    with ThreadPoolExecutor() as pool:
        both = list(pool.map(copy, range(2)))

    assert [len(one) >= len(tokens) for one in both] == [True, True]
