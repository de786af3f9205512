"""A model's directory as one archive, by which an engine brings it to the machines that score."""

import io
import tarfile
from pathlib import Path
from typing import IO

from model_contract.digest import directory_digest


def pack(directory: Path, stream: IO[bytes]) -> None:
    """Write the files of the directory as a tar archive. A link becomes the file that it names."""
    with tarfile.open(fileobj=stream, mode="w", dereference=True) as archive:
        for child in sorted(directory.iterdir()):  # Spark refuses an archive with an entry for the directory itself
            archive.add(child, arcname=child.name)


def unpack(content: bytes, directory: Path) -> None:
    """Extract the archive into the directory. Raises tarfile.FilterError for a path that leaves it."""
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        archive.extractall(directory, filter="data")


def digest(directory: Path) -> str:
    """Return the digest of the model's files, as hex digits."""
    return directory_digest(directory).partition(":")[2]
