"""The example that a model was logged with, read through the gate."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model_lifecycle.registry import Registry
from model_lifecycle.staging.example_call import EXAMPLE, MOST_BYTES, example_of
from model_lifecycle.tracking import Credentials, Tracking


@pytest.fixture
def registry(workspace: Any) -> Iterator[Registry]:
    authorization = Credentials(environ=workspace.environ()).for_any_project()
    with Registry(Tracking(uri=workspace.gate.uri, authorization=authorization)) as found:
        yield found


@pytest.fixture
def file(workspace: Any) -> Iterator[Path]:
    """Yield the example's file of a version that no test deploys, and restore the file afterwards."""
    run = workspace.version(workspace.number("pending"))["run_id"]
    [found] = [
        path
        for path in workspace.gate.server.artifacts.rglob(EXAMPLE)
        if f"run_id: {run}" in (path.parent / "MLmodel").read_text()
    ]
    content = found.read_bytes()
    yield found
    found.write_bytes(content)


def test_example_is_a_body_of_mlflows_protocol(workspace: Any, registry: Registry, file: Path) -> None:
    example = example_of(registry, registry.version(workspace.name, workspace.number("pending")))

    assert example == {"dataframe_split": {"columns": ["alcohol", "pH"], "data": [[9.4, 3.51], [10.1, 3.2]]}}


def test_example_of_a_model_below_the_source_is_found(workspace: Any, registry: Registry, file: Path) -> None:
    """Pods get such a model too: the directory with MLmodel is its root."""
    version = registry.version(workspace.name, workspace.number("pending"))
    above = file.parent.parent.relative_to(workspace.gate.server.artifacts)

    assert example_of(registry, replace(version, source=f"mlflow-artifacts:/{above}"))


@pytest.mark.parametrize(
    "content",
    [None, b"[]", b"{", b"[" * 100_000, b" " * (MOST_BYTES + 1)],
    ids=["not there", "a list", "cut", "nested", "too large"],
)
def test_model_without_an_example_that_can_be_sent_has_none(
    workspace: Any, registry: Registry, file: Path, content: bytes | None
) -> None:
    file.unlink()
    if content is not None:
        file.write_bytes(content)

    assert example_of(registry, registry.version(workspace.name, workspace.number("pending"))) is None
