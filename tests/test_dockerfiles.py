"""Each Dockerfile names its images with their registry: podman asks for one, or fails, if a name has none."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("benchmarks", "testbed")
FILES = sorted([*ROOT.glob("Dockerfile.*"), *(file for one in FOLDERS for file in (ROOT / one).rglob("*.Dockerfile"))])
REGISTRY = re.compile(r"[a-z0-9.-]+\.[a-z]+(?::[0-9]+)?/[a-z0-9._/-]+:[A-Za-z0-9._-]+(?:@sha256:[0-9a-f]{64})?")


def images_of(text: str) -> list[str]:
    """Return the images that a Dockerfile is built from, with the defaults of its arguments, without its own stages."""
    defaults = dict(re.findall(r"^ARG (\w+)=(\S+)$", text, re.MULTILINE))
    stages = re.findall(r"^FROM .* AS (\S+)$", text, re.MULTILINE)
    named = re.findall(r"^FROM (\S+)", text, re.MULTILINE) + re.findall(
        r"^(?:COPY|ADD) --from=(\S+)", text, re.MULTILINE
    )
    while any("${" in image for image in named):  # the default of an argument may name another argument
        named = [re.sub(r"\$\{(\w+)\}", lambda found: defaults[found[1]], image) for image in named]
    return [image for image in named if image not in stages]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_image_is_named_with_its_registry(file: Path) -> None:
    images = images_of(file.read_text())

    assert images
    assert [image for image in images if not REGISTRY.fullmatch(image)] == []


@pytest.mark.parametrize("line", ["FROM python:3.11", "FROM acme/base:1", "FROM ${BASE}", "COPY --from=alpine:3 /a /a"])
def test_name_without_a_registry_is_found(line: str) -> None:
    (image,) = images_of(f"ARG BASE=python:3.11-slim\n{line}\n")

    assert not REGISTRY.fullmatch(image)
