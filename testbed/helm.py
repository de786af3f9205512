"""Helm, compiled from its Go module, and what it renders of the project's chart."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from testbed.go_programs import Release, released_program

RELEASE: Final = Release(
    module="helm.sh/helm/v4", version="v4.3.2", digest="h1:zdd8DgKTlLrlYIzdoAntDHLH0V3RkgNIpQ3yjzuD84M="
)
ROOT: Final = Path(__file__).parents[1]
CHART: Final = ROOT / "charts" / "mlflow-model-api"
NAMESPACE: Final = "domino-platform"

Json = dict[str, Any]


class HelmError(RuntimeError):
    """Helm failed; the message is its output."""


def program() -> Path:
    """Return Helm, compiled if it is missing. Raises CalledProcessError."""
    return released_program(RELEASE, "./cmd/helm", "helm")


def helm(*arguments: str | Path, given: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Return what Helm prints. Raises HelmError."""
    command: list[str | Path] = [program(), *arguments]
    done = subprocess.run(
        command, input=given, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    if done.returncode:
        raise HelmError(f"helm {' '.join(map(str, arguments))}: {done.stderr.strip()}")
    return done.stdout


def template(values: Json | None = None, *arguments: str, namespace: str = NAMESPACE) -> list[Json]:
    """Return the objects of the chart with these values, without those of `helm test`. Raises HelmError."""
    options = ["--namespace", namespace, "--values", "-", "--skip-tests", *arguments]
    text = helm("template", "model-api", CHART, *options, given=yaml.safe_dump(values or {}))
    return objects_of(text)


def objects_of(text: str) -> list[Json]:
    return [found for found in yaml.safe_load_all(text) if found]


def refusal(values: Json, *arguments: str) -> str:
    """Return Helm's error for these values. Raises AssertionError if it has none."""
    try:
        template(values, *arguments)
    except HelmError as error:
        return str(error)
    raise AssertionError("helm template took the values")


def named(objects: Sequence[Json]) -> dict[tuple[str, str, str], Json]:
    """Return the objects by kind, namespace and name."""
    return {
        (found["kind"], found["metadata"].get("namespace", ""), found["metadata"]["name"]): found for found in objects
    }
