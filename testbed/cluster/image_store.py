"""The folder of containerd's images, kept from one cluster to the next: an import and its unpacking take a minute.

A copy of containerd's databases, made when it had all images and no container, is restored at the next
start, so it does not matter how a cluster ended. The files of an image never change.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from testbed.cluster.binaries import CACHE

ROOT: Final = CACHE / "containerd"
KEPT: Final = CACHE / "containerd-kept"
VERSION: Final = KEPT / "version"
IMAGES: Final = KEPT / "images.json"  # written last: without it the rest does not count
DATABASES: Final = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)
# Folders with an entry for each layer and each file of an image, of which a registry's images leave some.
ENTRIES: Final = (
    "io.containerd.snapshotter.v1.overlayfs/snapshots",
    "io.containerd.content.v1.content/blobs/sha256",
)
BLOBS: Final = ROOT / ENTRIES[1]
OF_IMAGES: Final = {Path(name).parts[0] for name in (*DATABASES, *ENTRIES)}


def restore(version: str) -> dict[str, str]:
    """Remove what the last cluster's containers have left, and return the ids of the images by their tags.

    Another version of containerd gets an empty folder.
    """
    if not IMAGES.exists() or VERSION.read_text() != version:
        shutil.rmtree(ROOT, ignore_errors=True)
        shutil.rmtree(KEPT, ignore_errors=True)
        ROOT.mkdir(parents=True)
        KEPT.mkdir()
        VERSION.write_text(version)
        return {}
    for name in DATABASES:
        shutil.copyfile(KEPT / Path(name).name, ROOT / name)
    kept: dict[str, list[str]] = json.loads((KEPT / "entries.json").read_text())
    for folder in ENTRIES:
        for entry in (ROOT / folder).iterdir():
            if entry.name not in kept[folder]:
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
    for other in ROOT.iterdir():
        if other.name not in OF_IMAGES:
            shutil.rmtree(other)
    images: dict[str, str] = json.loads(IMAGES.read_text())
    return images


def forget() -> None:
    """Keep nothing, because an import is about to replace images."""
    IMAGES.unlink(missing_ok=True)


def keep(images: Mapping[str, str]) -> None:
    """Keep what containerd has now; no container may run. `images` are ids by tags."""
    for name in DATABASES:
        _copy(ROOT / name, KEPT / Path(name).name)
    entries = {folder: [entry.name for entry in (ROOT / folder).iterdir()] for folder in ENTRIES}
    (KEPT / "entries.json").write_text(json.dumps(entries))
    IMAGES.write_text(json.dumps(dict(images)))


def _copy(database: Path, target: Path) -> None:
    """Copy a file that containerd may write to while it removes unused images, again until it has not."""
    while True:
        before = database.stat().st_mtime_ns
        shutil.copyfile(database, target)
        if database.stat().st_mtime_ns == before:
            return
