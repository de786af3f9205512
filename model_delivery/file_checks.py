"""Compare the files of a model in a store with its manifest. Nothing is written."""

import stat
from collections.abc import Iterator
from pathlib import Path

from model_contract.digest import file_entry
from model_contract.layout import MANIFEST, MODEL_DIRECTORY
from model_contract.model_ref import shown
from model_delivery.errors import DamagedError
from model_delivery.manifest import Manifest, parse_manifest


def read_manifest(run_directory: Path, *, by_uri: bool = False) -> Manifest | None:
    """Return the manifest of a model's directory; None if there is none. Raises DamagedError if it is not readable."""
    path = run_directory / MANIFEST
    try:
        if not stat.S_ISREG(path.lstat().st_mode):  # to read a named pipe would not end
            raise DamagedError(f"{path} is not a regular file; fetch the model again")
        return parse_manifest(path.read_bytes(), by_uri=by_uri)
    except (FileNotFoundError, NotADirectoryError):
        return None


def complete_manifest(destination: Path, *, by_uri: bool = False) -> Manifest | None:
    """Return the manifest of a model whose files have their sizes; None if there is no such model.

    Their digests were right before the rename. To read them again at each start of a pod would take as long as the
    fetch; `verify --digests` does it on demand.
    """
    manifest = readable_manifest(destination, by_uri=by_uri)
    return manifest if manifest and not any(size_faults(destination, manifest)) else None


def readable_manifest(destination: Path, *, by_uri: bool = False) -> Manifest | None:
    """Return the manifest of a model's directory; None if there is none that can be read."""
    try:
        return read_manifest(destination, by_uri=by_uri)
    except DamagedError:
        return None


def size_faults(run_directory: Path, manifest: Manifest) -> Iterator[str]:
    """Yield what is missing or has another size than in the manifest: microseconds for each file of any size."""
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
    """Yield the files with another digest, which reads each of them, and those that the manifest does not name."""
    model = run_directory / MODEL_DIRECTORY
    for file in manifest.files:
        if file_entry(model, file.path) != file:
            yield f"{shown(file.path)} has another digest"
    named = {file.path for file in manifest.files}
    for path in sorted(model.rglob("*")):
        if (path.is_symlink() or not path.is_dir()) and str(path.relative_to(model)) not in named:
            yield f"{shown(str(path.relative_to(model)))} is not in the manifest"


def regular_size(path: Path) -> int | None:
    """Return the size of a regular file; None for anything else, a symbolic link too."""
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None
