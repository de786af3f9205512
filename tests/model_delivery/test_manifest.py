import json
from collections.abc import Callable
from typing import Any

import pytest

from model_contract.digest import FileEntry
from model_contract.model_ref import ModelRef
from model_delivery.errors import DamagedError
from model_delivery.manifest import Manifest, parse_manifest

MANIFEST = Manifest(
    models=(
        ModelRef(name="wine", version="2", owner="jane.doe", run_id="5f0c"),
        ModelRef(name="wine, again", version="1", owner="jane.doe", run_id="5f0c"),
    ),
    source="1/models/m-7/artifacts",
    created="2026-01-02T03:04:05+00:00",
    files=(FileEntry(path="MLmodel", size=5, sha256="a" * 64), FileEntry(path="ümläut/x", size=0, sha256="b" * 64)),
)


def test_a_manifest_that_was_written_is_read_as_it_was() -> None:
    assert parse_manifest(MANIFEST.to_json()) == MANIFEST


def set_path(document: dict[str, Any]) -> None:
    document["files"][0]["path"] = "../x"


DAMAGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another format": lambda document: document.update(format=2),
    "no format": lambda document: document.pop("format"),
    "no files": lambda document: document.pop("files"),
    "no version": lambda document: document.update(versions=[]),
    "an owner that leaves the store": lambda document: document.update(owner="../x"),
    "a path that leaves the model": set_path,
    "a size that is none": lambda document: document["files"][0].update(size="5"),
    "a negative size": lambda document: document["files"][0].update(size=-5),
    "a digest that is none": lambda document: document["files"][0].update(sha256="A" * 64),
    "a digest of other files": lambda document: document.update(digest="sha256:" + "0" * 64),
    "one file more": lambda document: document["files"].append({"path": "y", "size": 1, "sha256": "c" * 64}),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_manifest_that_is_not_sound_is_damaged(damage: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads(MANIFEST.to_json())
    damage(document)

    with pytest.raises(DamagedError, match="manifest"):
        parse_manifest(json.dumps(document))


NO_MANIFESTS = {
    "empty": "",
    "torn": "{",
    "list": "[]",
    "null": "null",
    "text": '"x"',
    "deep": "[" * 100_000,
    "bytes": b"\xff",
}


@pytest.mark.parametrize("text", NO_MANIFESTS.values(), ids=NO_MANIFESTS.keys())
def test_text_that_is_no_manifest_is_damaged(text: str | bytes) -> None:
    with pytest.raises(DamagedError, match="cannot be read"):
        parse_manifest(text)
