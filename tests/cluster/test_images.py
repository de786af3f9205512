"""Images of the cluster: built again if a file of theirs has changed, and only then."""

import importlib.util
import os
import struct
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
    (tmp_path / ".dockerignore").write_text("*\n!package\n!libraries\n")
    (tmp_path / "libraries").write_bytes(os.urandom(2 << 20))
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY libraries libraries\nCOPY package package\n")
    built()
    archive = images.save_new([IMAGE.tag])
    whole = archive.stat().st_size
    with tarfile.open(archive) as tar:
        tar.extractall(tmp_path, filter="data")
    (tmp_path / "package" / "code.py").write_text("2")
    built()

    assert images.save_new([IMAGE.tag]).stat().st_size < 1 << 20 < whole


LIBRARY = Path(f"usr/local/lib/python{images.PYTHON}")
PACKAGES = Path(f"app/lib/python{images.PYTHON}/site-packages")


@pytest.mark.parametrize(
    ("name", "modules"),
    [
        ("webhook", ["webhook/server/worker", "model_contract/names", "flask/app"]),
        ("gate", ["tracking_gate/server", "model_contract/names", "click/core"]),
        ("delivery", ["model_delivery/fetch", "model_contract/names"]),
        (
            "runtime",
            ["serving_runtime/process/worker", "serving_runtime/cli", "mlflow/pyfunc/__init__", "sklearn/base"],
        ),
    ],
)
def test_container_has_the_bytecode_of_what_it_imports(name: str, modules: list[str]) -> None:
    """Without it, or with that of another time of the source, each start compiles: up to two seconds of processor."""
    images.base()
    (image,) = (image for image in images.IMAGES if f"/model-api-{name}:" in image.tag)
    images.build(image)
    root = Path(images.podman("image", "mount", image.tag).strip())
    try:
        wanted = [LIBRARY / "argparse", LIBRARY / "json/decoder", *(PACKAGES / module for module in modules)]
        compiled = {str(module): is_compiled(root / module) for module in wanted}
    finally:
        images.podman("image", "unmount", image.tag)

    assert [module for module, found in compiled.items() if not found] == []


def is_compiled(module: Path) -> bool:
    """Return True if the module has bytecode that counts: that of its time and size, or that of its content."""
    source = module.with_suffix(".py")
    bytecode = Path(importlib.util.cache_from_source(str(source)))
    if not bytecode.exists():
        return False
    head, found = bytecode.read_bytes()[4:16], source.stat()  # https://peps.python.org/pep-0552
    by_content = struct.pack("<I", 0b11) + importlib.util.source_hash(source.read_bytes())
    return head in {by_content, struct.pack("<3I", 0, int(found.st_mtime), found.st_size)}
