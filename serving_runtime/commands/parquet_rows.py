"""Rows of a file of Parquet, in chunks."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import IO, Any, Final

from model_contract.extras import missing_extra
from serving_runtime.commands.chunk import Chunk, frame_chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.kept_columns import Kept, kept_of_batch
from serving_runtime.commands.partition_columns import expect_columns, expect_each_once
from serving_runtime.commands.partitions import Partitions
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.request import Request
from serving_runtime.signature import Signature

try:  # the extra `tables`
    import pyarrow as arrow

    from serving_runtime.tables.arrow_tables import frame_request, pandas_frame, table_request
    from serving_runtime.tables.parquet_files import open_parquet
except ImportError:
    arrow = None
ENCRYPTED: Final = re.compile("crypt(?!o)")  # in Arrow's messages about keys
PIECE: Final = 1 << 20  # bytes of a column that are read at a time
OBJECT_PIECE: Final = 8 << 20  # the same from a store, where each request takes long
CHUNK: Final = 16 << 20  # bytes, decompressed: some 5,000 tensors of 28 x 28 floats, but 200,000 rows of numbers


def parquet_chunks(
    stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str], partitions: Partitions
) -> Iterator[Chunk]:
    """Yield chunks of at most `size` rows, and of fewer if these are long. Raises InputFileError."""
    if arrow is None:
        raise InputFileError(f"Parquet cannot be read: {missing_extra('pyarrow', 'tables')}")
    try:
        file = _opened(stream)
        expect_each_once(file.schema_arrow.names)
        if not file.metadata.num_rows:
            expect_columns(file.schema_arrow.names, signature, partitions)
        before = 0
        columns = needed_columns(file.schema_arrow.names, signature, keep)
        for batch in file.iter_batches(batch_size=min(size, _rows_of_chunk(file.metadata)), columns=columns):
            kept = kept_of_batch(batch, keep) if keep else None
            yield batch_chunk(batch, before, signature, kept)
            before += batch.num_rows
        if before < file.metadata.num_rows:  # some writers do not count them
            raise InputFileError(f"the file is damaged: of {file.metadata.num_rows} rows it has {before}")
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, OSError) as error:
        problem = str(error).partition("\n")[0]
        if ENCRYPTED.search(problem):
            raise InputFileError(
                "the file is encrypted, and predict has no keys; write it without encryption"
            ) from None
        raise InputFileError(f"the file cannot be read as Parquet: {problem}") from None


def _opened(stream: IO[bytes]) -> Any:
    """Return the file, which is read piece by piece: by default Arrow holds all that it has read."""
    if not stream.seekable():
        stream = io.BytesIO(stream.read())
    piece = OBJECT_PIECE if isinstance(stream, io.RawIOBase) else PIECE
    return open_parquet(stream, pre_buffer=False, buffer_size=piece)


def needed_columns(names: Sequence[str], signature: Signature, keep: Sequence[str]) -> list[str] | None:
    """Return the columns to read; None for all, because Arrow reads a point in a name as the path of a nested field."""
    known = signature.names | {*keep}
    needed = [name for name in names if name in known]
    return needed if signature.named and needed and not any("." in name for name in needed) else None


def _rows_of_chunk(metadata: Any) -> int:
    """Return how many rows of a file of Parquet are a chunk by their bytes; its row groups tell those."""
    size: int = sum(metadata.row_group(group).total_byte_size for group in range(metadata.num_row_groups))
    rows: int = metadata.num_rows
    return max(1, CHUNK * rows // max(1, size))


def batch_chunk(batch: Any, before: int, signature: Signature, kept: Kept | None) -> Chunk:
    """Return the chunk of a batch; a model without a signature gets the frame of pandas, with its index."""

    def place(row: int) -> str:
        return f"row {before + row + 1}"

    def request(first: int, end: int) -> Request:
        rows = batch.slice(first, end - first)
        return frame_request(rows) if signature.says_nothing else table_request(rows, signature)

    if signature.says_nothing:
        with suppress(MalformedRequestError):  # of some rows, which are found one by one
            return frame_chunk(pandas_frame(batch), place, kept)
        return Chunk(count=batch.num_rows, place=place, request=request, kept=kept)

    return Chunk(
        count=batch.num_rows,
        place=place,
        request=request,
        columns=lambda: request(0, batch.num_rows),
        kept=kept,
    )
