"""A model's directory as one archive, by which an engine brings it to the machines that score."""

import hashlib
import io
import tarfile
from pathlib import Path
from typing import IO

from model_contract.digest import FileEntry, model_digest


def pack(directory: Path, stream: IO[bytes]) -> None:
    """Write the files of the directory as a tar archive. A link is packed as the file that it names."""
    with tarfile.open(fileobj=stream, mode="w", dereference=True) as archive:
        for child in sorted(directory.iterdir()):  # Spark refuses an archive with an entry for the directory itself
            archive.add(child, arcname=child.name)


def unpack(content: bytes, directory: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(directory, filter="data")


def digest(directory: Path) -> str:
    """Return the digest of the model's files, as hex digits."""
    return model_digest(_entry(path, directory) for path in directory.rglob("*") if path.is_file()).partition(":")[2]


def _entry(path: Path, directory: Path) -> FileEntry:
    with path.open("rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(path=path.relative_to(directory).as_posix(), size=path.stat().st_size, sha256=sha256)
