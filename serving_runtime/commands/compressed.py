"""Files that are compressed by gzip, bzip2, xz, zstd or zip, as streams of their content."""

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable
from typing import IO, Any, Final, cast

from model_contract.extras import missing_extra
from serving_runtime.commands.cli_errors import InputFileError

try:  # the extra `tables`
    import pyarrow as arrow
except ImportError:
    arrow = None
# Other faults of a compressed file are OSError.
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
BLOCK: Final = 1 << 20  # bytes that are decompressed at a time
MACOS_FOLDER: Final = "__MACOSX/"  # beginning of the names of what macOS adds to an archive


def decompressed(stream: IO[bytes], beginning: bytes) -> IO[bytes]:
    """Return the content of a file whose first bytes are `beginning`; the file itself if it is not compressed.

    Raises InputFileError.
    """
    opened = next((opened for magic, opened in DECOMPRESSORS.items() if beginning.startswith(magic)), None)
    return stream if opened is None else io.BufferedReader(cast("io.RawIOBase", opened(stream)), BLOCK)


class _Xz(io.RawIOBase):
    """The content of a file of xz. Zeros may follow each of its streams, which the reader of Python refuses."""

    def __init__(self, compressed: IO[bytes]) -> None:
        self._compressed = compressed
        self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises LZMAError, and EOFError if a stream has no end."""
        content = b""
        while not content:
            compressed = b""
            if self._decompressor.eof:
                if not (compressed := self._next_stream()):
                    return 0
                self._decompressor = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            elif self._decompressor.needs_input and not (compressed := self._compressed.read(BLOCK)):
                raise EOFError
            content = self._decompressor.decompress(compressed, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _next_stream(self) -> bytes:
        """Return the beginning of the next stream; nothing if there is none."""
        compressed = self._decompressor.unused_data.lstrip(b"\0")
        while not compressed and (compressed := self._compressed.read(BLOCK)):
            compressed = compressed.lstrip(b"\0")
        return compressed


def _only_file(stream: IO[bytes]) -> Any:
    """Return the file in an archive; the archive itself, which is refused, if it has others too or cannot be read."""
    if not stream.seekable():
        return stream
    try:
        archive = zipfile.ZipFile(stream)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith(MACOS_FOLDER)]
        if len(names) == 1:
            return archive.open(names[0])
    except (zipfile.BadZipFile, RuntimeError):  # the second is of a password, or of a compression that Python lacks
        pass
    stream.seek(0)
    return stream


def _zstd(stream: IO[bytes]) -> Any:
    if arrow is None:
        raise InputFileError(f"the file is compressed by zstd and cannot be read: {missing_extra('pyarrow', 'tables')}")
    return arrow.CompressedInputStream(arrow.PythonFile(_KeptOpen(stream), mode="r"), "zstd")


class _KeptOpen:
    """A stream that stays open when its reader is closed, as with the other decompressors."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read = stream.read
        self.closed = False

    def close(self) -> None:
        self.closed = True


# The first bytes of compressed files.
DECOMPRESSORS: Final[dict[bytes, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": _Xz,
    b"\x5d\0\0": lzma.open,  # its older form, .lzma
    b"PK\x03\x04": _only_file,
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\x50\x2a\x4d\x18": _zstd,  # as pzstd begins, with the size of the next frame
}
