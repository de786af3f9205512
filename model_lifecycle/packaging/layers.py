"""Layers of an image: uncompressed tar archives that are read from files as they are sent.

The same files give the same bytes on every machine: owners, times and modes are fixed, entries are sorted, and nothing
is compressed, since the output of a compressor depends on its version. An archive is never on the disk or in memory.
"""

import hashlib
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final

from model_lifecycle.errors import PreconditionError

CHUNK: Final = 1 << 20
BLOCK: Final = tarfile.BLOCKSIZE
END: Final = bytes(2 * BLOCK)
FILE_MODE: Final = 0o644
DIRECTORY_MODE: Final = 0o755


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFile:
    """A file of a layer: its path in the image, its size, and its content, which is bytes or a file on the disk."""

    path: str
    size: int
    content: bytes | Path

    def chunks(self) -> Iterator[bytes]:
        """Yield the content. Raises PreconditionError if the file has another size by now."""
        if isinstance(self.content, bytes):
            yield self.content
            return
        left = self.size
        with self.content.open("rb", buffering=0) as source:
            while left and (chunk := source.read(min(CHUNK, left))):
                left -= len(chunk)
                yield chunk
            if left or source.read(1):
                raise PreconditionError(f"{self.content.name} has changed while it was packaged: package it again")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer of an image. `directories` are those without a file."""

    files: tuple[LayerFile, ...]
    directories: tuple[str, ...] = ()

    @cached_property
    def size(self) -> int:
        """The bytes of the archive, for which no file is read."""
        return (
            sum(len(_header(path)) for path in self._parents)
            + sum(len(_header(file)) + file.size + _padding(file.size) for file in self.files)
            + len(END)
        )

    @cached_property
    def digest(self) -> str:
        """The digest of the archive, for which every file is read; without compression it is also the diff id."""
        total = hashlib.sha256()
        for chunk in self.chunks():
            total.update(chunk)
        return f"sha256:{total.hexdigest()}"

    def chunks(self) -> Iterator[bytes]:
        """Yield the archive: directories, then files, each in the order of their paths."""
        yield b"".join(map(_header, self._parents))
        for file in sorted(self.files, key=lambda file: file.path.encode()):
            yield _header(file)
            yield from file.chunks()
            yield bytes(_padding(file.size))
        yield END

    @cached_property
    def _parents(self) -> list[str]:
        paths = [*self.directories, *(str(PurePosixPath(file.path).parent) for file in self.files)]
        found = {str(part) for path in map(PurePosixPath, paths) for part in (path, *path.parents)} - {"."}
        return sorted(found, key=str.encode)


def _header(entry: str | LayerFile) -> bytes:
    """Return the header of a directory or a file. For a long path it has more than one block."""
    if isinstance(entry, str):
        info = tarfile.TarInfo(entry)
        info.type, info.mode = tarfile.DIRTYPE, DIRECTORY_MODE
    else:
        info = tarfile.TarInfo(entry.path)
        info.size, info.mode = entry.size, FILE_MODE
    # GNU's format has sizes above 8 GiB in the header itself, which readers that skip extended headers need.
    return info.tobuf(format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape")


def _padding(size: int) -> int:
    return -size % BLOCK


def grouped(files: Sequence[LayerFile], *, large: int, most: int) -> list[Layer]:
    """Return a layer for each of the `most` largest files of `large` bytes and more, and behind them one for the rest.

    A node fetches several layers at a time. Two versions with the same large files have the same first layers, which a
    registry stores once, and a node fetches and unpacks once.
    """
    alone = sorted((file for file in files if file.size >= large), key=lambda file: (-file.size, file.path))[:most]
    paths = {file.path for file in alone}
    rest = tuple(file for file in files if file.path not in paths)
    first = [Layer(files=(file,)) for file in sorted(alone, key=lambda file: file.path.encode())]
    return [*first, Layer(files=rest)] if rest else first
