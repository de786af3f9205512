"""Is the model that lies in a store the one its manifest describes? Reads only."""

import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from model_contract.digest import FileEntry
from model_contract.layout import MANIFEST, MODEL_DIRECTORY
from model_contract.model_ref import shown
from model_delivery.manifest import Manifest, parse_manifest

CHUNK: Final = 1 << 18


def read_manifest(run_directory: Path) -> Manifest | None:
    """None where there is none. Raises DamagedError where it cannot be read."""
    try:
        return parse_manifest((run_directory / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None


def size_faults(run_directory: Path, manifest: Manifest) -> Iterator[str]:
    """What is wrong with what the manifest names, as far as sizes show it: microseconds per file, whatever its size."""
    for directory in manifest.directories:
        path = run_directory / MODEL_DIRECTORY / directory
        if path.is_symlink() or not path.is_dir():
            yield f"the directory {shown(directory)} is missing"
    for file in manifest.files:
        size = regular_size(run_directory / MODEL_DIRECTORY / file.path)
        if size is None:
            yield f"{shown(file.path)} is missing"
        elif size != file.size:
            yield f"{shown(file.path)} has {size} bytes instead of {file.size}"


def digest_faults(run_directory: Path, manifest: Manifest) -> Iterator[str]:
    """The same by reading every file; and what lies among them that the manifest does not name."""
    model = run_directory / MODEL_DIRECTORY
    for file in manifest.files:
        if file_entry(model, file.path) != file:
            yield f"{shown(file.path)} has another digest"
    named = {file.path for file in manifest.files}
    for path in sorted(model.rglob("*")):
        if not path.is_dir() and str(path.relative_to(model)) not in named:
            yield f"{shown(str(path.relative_to(model)))} is not in the manifest"


def regular_size(path: Path) -> int | None:
    """The size of a regular file; None for anything else, a symbolic link too."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def file_entry(root: Path, path: str) -> FileEntry:
    """Size and digest of a file, read from the disk in pieces."""
    digest = hashlib.sha256()
    size = 0
    with (root / path).open("rb", buffering=0) as content:
        while chunk := content.read(CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return FileEntry(path=path, size=size, sha256=digest.hexdigest())
