"""Components of the manifests beside each other, as kustomize builds them: none takes away what another one changes."""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.cluster import binaries
from testbed.cluster.machine import run
from testbed.helm import objects_of

MANIFESTS = Path(__file__).parents[2] / "manifests"
GATE = "gate"  # always there, and first: the components of its name change it
COMPONENTS = sorted(path.name for path in MANIFESTS.glob("components/*") if path.name != GATE)
HASH = re.compile(r"(model-api-\w+-settings)-\w{10}\b")  # of the content, at the end of a name
KEYS = ("name", "mountPath", "containerPort")  # of the items of a list

Field = tuple[str, ...]


def built(folder: Path, components: Sequence[str]) -> Mapping[Field, Any]:
    """Return each field of the base and the components, by its object and its path there."""
    manifests = os.path.relpath(MANIFESTS, folder.resolve())
    content = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [f"{manifests}/base"],
        "components": [f"{manifests}/components/{component}" for component in (GATE, *components)],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(content))
    text = HASH.sub(r"\1", run(binaries.build() / "kubectl", "kustomize", folder))
    return {
        field: value
        for one in objects_of(text)
        for field, value in fields(one, (one["kind"], one["metadata"].get("namespace", ""), one["metadata"]["name"]))
    }


def fields(found: Any, place: Field) -> Iterator[tuple[Field, Any]]:
    """Yield the fields of an object that hold no further ones; the items of a list are named by their own key."""
    items: Iterator[tuple[str, Any]] = iter(())
    if isinstance(found, dict):
        items = iter(found.items())
    elif isinstance(found, list):
        items = ((name_of(item), item) for item in found)
    empty = True
    for name, item in items:
        empty = False
        yield from fields(item, (*place, name))
    if empty:
        yield place, found


def name_of(item: Any) -> str:
    names = [str(item[key]) for key in KEYS if key in item] if isinstance(item, dict) else []
    return names[0] if names else json.dumps(item, sort_keys=True)


@pytest.fixture(scope="module")
def gate_only(tmp_path_factory: pytest.TempPathFactory) -> Mapping[Field, Any]:
    return built(tmp_path_factory.mktemp("gate"), [])


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> list[Mapping[Field, Any]]:
    """All components at once, in one order and in the other."""
    return [built(tmp_path_factory.mktemp("all"), components) for components in (COMPONENTS, COMPONENTS[::-1])]


@pytest.mark.parametrize("component", COMPONENTS)
def test_change_of_a_component_stays_beside_all_others_in_either_order(
    component: str, gate_only: Mapping[Field, Any], together: list[Mapping[Field, Any]], tmp_path: Path
) -> None:
    alone = built(tmp_path, [component])
    changed = {field: value for field, value in alone.items() if gate_only.get(field) != value}
    removed = gate_only.keys() - alone.keys()

    assert changed
    for everything in together:
        assert {field: everything.get(field) for field in changed} == changed
        assert not removed & everything.keys()
