"""Files that gzip, bzip2, xz, zstd or zip has packed, as streams of what is in them."""

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
# Other faults of a packed file are OSError.
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile)
BLOCK: Final = 1 << 20  # bytes that are unpacked at a time
OF_MAC: Final = "__MACOSX/"  # beginning of the names of what macOS adds to an archive


def unpacked(stream: IO[bytes], beginning: bytes) -> IO[bytes]:
    """Return what a file holds whose first bytes are `beginning`; the file itself if it is not packed.

    Raises InputFileError.
    """
    opened = next((opened for magic, opened in OPENED.items() if beginning.startswith(magic)), None)
    return stream if opened is None else io.BufferedReader(cast("io.RawIOBase", opened(stream)), BLOCK)


class _Xz(io.RawIOBase):
    """What is in the streams of a file of xz, each of which may end with zeros, which Python's own reader refuses."""

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Raises LZMAError, and EOFError if a stream has no end."""
        content = b""
        while not content:
            packed = b""
            if self._unpacker.eof:
                if not (packed := self._next_stream()):
                    return 0
                self._unpacker = lzma.LZMADecompressor(lzma.FORMAT_XZ)
            elif self._unpacker.needs_input and not (packed := self._packed.read(BLOCK)):
                raise EOFError
            content = self._unpacker.decompress(packed, len(buffer))
        buffer[: len(content)] = content
        return len(content)

    def _next_stream(self) -> bytes:
        """Return the beginning of the next stream; nothing if there is none."""
        packed = self._unpacker.unused_data.lstrip(b"\0")
        while not packed and (packed := self._packed.read(BLOCK)):
            packed = packed.lstrip(b"\0")
        return packed


def _only_file(stream: IO[bytes]) -> Any:
    """Return the file in an archive; the archive itself, which is refused, if it has others too or cannot be read."""
    if not stream.seekable():
        return stream
    try:
        archive = zipfile.ZipFile(stream)
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith(OF_MAC)]
        if len(names) == 1:
            return archive.open(names[0])
    except (zipfile.BadZipFile, RuntimeError):  # the second is of a password, or of a way to pack that Python lacks
        pass
    stream.seek(0)
    return stream


def _zstd(stream: IO[bytes]) -> Any:
    if arrow is None:
        raise InputFileError(f"the file is packed by zstd and cannot be read: {missing_extra('pyarrow', 'tables')}")
    return arrow.CompressedInputStream(arrow.PythonFile(_Left(stream), mode="r"), "zstd")


class _Left:
    """A stream that is left open when its reader is closed, as the other unpackers do."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read = stream.read
        self.closed = False

    def close(self) -> None:
        self.closed = True


# The first bytes of packed files.
OPENED: Final[dict[bytes, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": _Xz,
    b"\x5d\0\0": lzma.open,  # its older form, .lzma
    b"PK\x03\x04": _only_file,
    b"\x28\xb5\x2f\xfd": _zstd,
}
