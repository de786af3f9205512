"""The digest of a whole model: models with the same files have the same digest."""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class FileEntry:
    """One file of a model: path relative to the model's root with `/`, size in bytes, SHA-256 as 64 hex digits."""

    path: str
    size: int
    sha256: str


def model_digest(files: Iterable[FileEntry]) -> str:
    r"""Return `sha256:<hex>` over the lines `path NUL size NUL sha256 LF`, sorted by the bytes of the path.

    Python compares texts by code points, which is the order of their bytes in UTF-8.
    """
    total = hashlib.sha256()
    for file in sorted(files, key=lambda entry: entry.path):
        total.update(f"{file.path}\0{file.size}\0{file.sha256}\n".encode())
    return f"sha256:{total.hexdigest()}"


def directory_digest(directory: Path) -> str:
    """Read all files of a model, and return their digest. Raises OSError."""
    return model_digest(
        file_entry(directory, path.relative_to(directory).as_posix()) for path in directory.rglob("*") if path.is_file()
    )


def file_entry(root: Path, path: str) -> FileEntry:
    """Return path, size and digest of a file below `root`, which is read in pieces. Raises OSError."""
    with (root / path).open("rb", buffering=0) as content:
        sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        return FileEntry(path=path, size=content.tell(), sha256=sha256)
