"""Rows of a file of Arrow, which is Feather's second version too, or of a stream of Arrow, in chunks."""

import io
from collections.abc import Iterator, Sequence
from typing import IO, Any, Final

from model_contract.extras import missing_extra
from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.kept_columns import kept_of_batch
from serving_runtime.commands.parquet_rows import CHUNK, batch_chunk, needed_columns
from serving_runtime.commands.partition_columns import expect_columns, expect_each_once
from serving_runtime.commands.partitions import Partitions
from serving_runtime.signature import Signature

try:  # the extra `tables`
    import pyarrow as arrow
    from pyarrow import ipc

    from serving_runtime.tables.arrow_stream import END, check_type
except ImportError:
    arrow = None
FILE: Final = b"ARROW1"  # the first bytes of a file; a stream has others
CONTINUED: Final = b"\xff\xff\xff\xff"  # the first bytes of each message
OLD_FEATHER: Final = b"FEA1"


def arrow_chunks(
    stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str], partitions: Partitions
) -> Iterator[Chunk]:
    """Yield chunks of at most `size` rows, and of fewer if these are long. Memory holds a record batch of the file.

    Raises InputFileError, and MalformedRequestError for a column of an unsupported type.
    """
    if arrow is None:
        raise InputFileError(f"Arrow cannot be read: {missing_extra('pyarrow', 'tables')}")
    try:
        reader, read = _reader(stream)
        names = reader.schema.names
        expect_each_once(names)
        needed = needed_columns(names, signature, keep) or names
        for name in needed:
            check_type(name, reader.schema.field(name).type)
        before = 0
        for batch in _batches(reader, needed, size):
            yield batch_chunk(batch, before, signature, kept_of_batch(batch, keep) if keep else None)
            before += batch.num_rows
        if read is not None and not read.has_end:
            raise InputFileError(f"the stream of Arrow has no end after {before} rows: it was cut, or not closed")
        if not before:
            expect_columns(names, signature, partitions)
    except (arrow.ArrowException, OSError) as error:
        problem = str(error).partition("\n")[0]
        raise InputFileError(f"the file cannot be read as Arrow: {problem}") from None


class _Read:
    """The content of a stream of Arrow. Arrow itself takes one that was cut behind a record batch for a whole one."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._beginning = self._last = b""
        self.closed = False

    def read(self, size: int = -1) -> bytes:
        content = self._stream.read(size)
        self._beginning = self._beginning or content[: len(CONTINUED)]
        self._last = (self._last + content[-len(END) :])[-len(END) :]
        return content

    @property
    def has_end(self) -> bool:
        """False if the end is missing. Streams of versions before 0.15 have another one, or none."""
        return self._last == END or self._beginning != CONTINUED

    def close(self) -> None:
        self.closed = True


def _reader(stream: IO[bytes]) -> tuple[Any, _Read | None]:
    """Return a reader, and of a stream what it has read. Raises InputFileError, ArrowException."""
    if stream.seekable():
        beginning = stream.read(len(FILE))
        stream.seek(0)
    else:
        stream = io.BufferedReader(stream)  # type: ignore[type-var]  # a raw stream, or a buffered one
        beginning = stream.peek(len(FILE))[: len(FILE)]
    if beginning.startswith(OLD_FEATHER):
        raise InputFileError("the file is Feather of version 1; write it as Parquet")
    if beginning != FILE:
        read = _Read(stream)
        return ipc.open_stream(arrow.PythonFile(read, mode="r")), read
    return ipc.open_file(stream if stream.seekable() else io.BytesIO(stream.read())), None


def _batches(reader: Any, columns: Sequence[str], size: int) -> Iterator[Any]:
    """Yield record batches of these columns and at most `size` rows. Raises ArrowException for a damaged batch."""
    is_file = isinstance(reader, ipc.RecordBatchFileReader)
    for whole in map(reader.get_batch, range(reader.num_record_batches)) if is_file else reader:
        batch = whole.select(columns)
        batch.validate(full=True)
        rows = min(size, max(1, CHUNK * batch.num_rows // max(1, batch.nbytes)))
        for start in range(0, batch.num_rows, rows):
            yield batch.slice(start, rows)
