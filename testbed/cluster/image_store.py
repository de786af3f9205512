"""The folder of containerd's images, kept from one cluster to the next: an import and its unpacking take a minute.

A copy of containerd's databases from the moment at which it had all images and no container is taken back at the next
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
IMAGES: Final = KEPT / "images.json"  # written last: without it the rest does not count
DATABASES: Final = (
    "io.containerd.metadata.v1.bolt/meta.db",
    "io.containerd.snapshotter.v1.overlayfs/metadata.db",
)
SNAPSHOTS: Final = "io.containerd.snapshotter.v1.overlayfs/snapshots"
OF_CONTAINERS: Final = "io.containerd.grpc.v1.cri"


def restore() -> dict[str, str]:
    """Remove what the last cluster's containers have left, and return the ids of the images by their tags."""
    if not IMAGES.exists():
        shutil.rmtree(ROOT, ignore_errors=True)
        ROOT.mkdir(parents=True)
        return {}
    for name in DATABASES:
        shutil.copyfile(KEPT / Path(name).name, ROOT / name)
    snapshots: list[str] = json.loads((KEPT / "snapshots.json").read_text())
    for folder in (ROOT / SNAPSHOTS).iterdir():
        if folder.name not in snapshots:
            shutil.rmtree(folder)
    shutil.rmtree(ROOT / OF_CONTAINERS, ignore_errors=True)
    images: dict[str, str] = json.loads(IMAGES.read_text())
    return images


def forget() -> None:
    """Keep nothing, because an import is about to replace images."""
    IMAGES.unlink(missing_ok=True)


def keep(images: Mapping[str, str]) -> None:
    """Keep what containerd has now; no container may run. `images` are ids by tags."""
    KEPT.mkdir(exist_ok=True)
    for name in DATABASES:
        _copy(ROOT / name, KEPT / Path(name).name)
    (KEPT / "snapshots.json").write_text(json.dumps([folder.name for folder in (ROOT / SNAPSHOTS).iterdir()]))
    IMAGES.write_text(json.dumps(dict(images)))


def _copy(database: Path, target: Path) -> None:
    """Copy a file that containerd may write to while it removes unused images, again until it has not."""
    while True:
        before = database.stat().st_mtime_ns
        shutil.copyfile(database, target)
        if database.stat().st_mtime_ns == before:
            return
