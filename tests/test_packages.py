"""Rules for all packages."""

import ast
import re
import subprocess
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from model_contract import names
from testbed.processes import installed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SOURCES = sorted(file for package in PACKAGES for file in (ROOT / package).rglob("*.py"))

ADDRESS = re.compile(r"https?://([A-Za-z0-9.-]+)")
EXAMPLES = re.compile(
    r"localhost|host|minio\.storage|127\.0\.0\.1|([\w-]+\.)*example(\.(com|org))?|mlflow\.(mlflow-efs(\.svc)?)?"
)
PUBLIC = {
    "arrow.apache.org",
    "cli.github.com",
    "docs.github.com",
    "git-lfs.github.com",  # in the first line of a pointer of Git LFS
    "github.com",
    "gitlab.com",
    "index.docker.io",  # in the name under which every Docker keeps the login of Docker Hub
    "json-schema.org",
    "kserve.github.io",
    "kubernetes.default.svc",  # the API server of every cluster
    "mlflow.org",
    "opentelemetry.io",
    "pytorch.org",
    "spec.openapis.org",
    "token.actions.githubusercontent.com",
    "w3c.github.io",
    "www.w3.org",
}


@pytest.mark.parametrize("command", PROJECT["project"]["scripts"])
def test_command_starts_without_a_warning(command: str) -> None:
    done = subprocess.run(
        [installed("python"), "-W", "error", installed(command), "--help"], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.lower().startswith("usage")


def test_names_of_the_contract_are_given_once() -> None:
    module = ast.parse(Path(names.__file__).read_text())
    given = Counter(
        node.target.id for node in module.body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    )

    assert [name for name, times in given.items() if times > 1] == []


def test_no_address_of_an_installation_is_in_the_packages() -> None:
    found = {host for file in SOURCES for host in ADDRESS.findall(file.read_text())}

    assert {host for host in found - PUBLIC if not EXAMPLES.fullmatch(host)} == set()
