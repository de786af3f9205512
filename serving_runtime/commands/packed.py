"""Files that are compressed by gzip, bzip2, xz or zstd, as streams of their content."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from typing import IO, Any, Final, cast

from model_contract.extras import missing_extra
from serving_runtime.commands.cli_errors import InputFileError

try:  # the extra `tables`
    import pyarrow as arrow
except ImportError:
    arrow = None
DAMAGED: Final = (EOFError, zlib.error, lzma.LZMAError)  # other faults of a compressed file are OSError
BLOCK: Final = 1 << 20  # bytes that are decompressed at a time


def unpacked(stream: IO[bytes], beginning: bytes) -> IO[bytes]:
    """Return the content of a file whose first bytes are `beginning`; the file itself if it is not compressed.

    Raises InputFileError.
    """
    opened = next((opened for magic, opened in OPENED.items() if beginning.startswith(magic)), None)
    return stream if opened is None else io.BufferedReader(cast("io.RawIOBase", opened(stream)), BLOCK)


def _zstd(stream: IO[bytes]) -> Any:
    if arrow is None:
        raise InputFileError(f"the file is compressed by zstd and cannot be read: {missing_extra('pyarrow', 'tables')}")
    return arrow.CompressedInputStream(arrow.PythonFile(_Left(stream), mode="r"), "zstd")


class _Left:
    """A stream that stays open when its reader is closed, as with the other decompressors."""

    def __init__(self, stream: IO[bytes]) -> None:
        self.read = stream.read
        self.closed = False

    def close(self) -> None:
        self.closed = True


# The first bytes of compressed files.
OPENED: Final[dict[bytes, Callable[[IO[bytes]], Any]]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x28\xb5\x2f\xfd": _zstd,
}
