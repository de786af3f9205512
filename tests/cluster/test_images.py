"""Images of the cluster: built again if a file of theirs has changed, and only then."""

import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from testbed.cluster import images

IMAGE = images.Image(tag="localhost/model-api-test:1", dockerfile="Dockerfile")


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], tuple[str, int]]]:
    """Build an image of one file, and return its id and the time of the last build."""
    (tmp_path / "cache" / "images").mkdir(parents=True)
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY package package\n")
    (tmp_path / ".dockerignore").write_text("*\n!package\n")
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "code.py").write_text("1")
    images.base()
    monkeypatch.setattr(images, "ROOT", tmp_path)
    monkeypatch.setattr(images, "CACHE", tmp_path / "cache")

    def build() -> tuple[str, int]:
        images.build(IMAGE)
        [record] = (tmp_path / "cache" / "images").glob("built-*")
        return images.identity_of(IMAGE.tag), record.stat().st_mtime_ns

    yield build
    images.podman("image", "rm", IMAGE.tag)


def test_image_is_built_again_only_if_a_file_of_it_has_changed(
    built: Callable[[], tuple[str, int]], tmp_path: Path
) -> None:
    first = built()
    (tmp_path / "ignored.txt").write_text("2")
    same = built()
    (tmp_path / "package" / "code.py").write_text("2")
    changed = built()

    assert same == first
    assert changed[0] != first[0]


def test_image_that_another_checkout_has_replaced_is_built_again(
    built: Callable[[], tuple[str, int]], tmp_path: Path
) -> None:
    first = built()
    images.podman("tag", images.BASE, IMAGE.tag)

    again = built()

    assert again[0] == first[0]
    assert again[1] > first[1]


def test_archive_for_the_cluster_has_only_the_layers_that_it_lacks(
    built: Callable[[], tuple[str, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images.image_store, "BLOBS", tmp_path / "blobs" / "sha256")
    (tmp_path / "Dockerfile").write_text(f"FROM {images.BASE}\nCOPY package package\n")
    built()
    archive = images.save_new([IMAGE.tag])
    whole = archive.stat().st_size
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")

    assert images.save_new([IMAGE.tag]).stat().st_size < 1 << 20 < whole
