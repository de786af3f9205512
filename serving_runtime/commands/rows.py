"""Rows of a file, in chunks that fit into memory; CSV and Parquet are read here, JSON in `json_rows.py`."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, partial
from typing import IO, Any, Final

from model_contract.extras import missing_extra
from serving_runtime.codec.delimited import read_csv
from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.json_rows import NO_TABLE, json_chunks, json_lines_chunks
from serving_runtime.commands.kept_columns import Kept, kept_by_cells, kept_by_columns, kept_of_batch
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.forms import Frame, Request
from serving_runtime.signature import Signature
from serving_runtime.tables.csv_blocks import CsvBlock, read_csv_blocks

try:  # the extra `tables`
    import pyarrow as arrow
    from pyarrow import parquet

    from serving_runtime.tables.arrow_tables import table_request
    from serving_runtime.tables.csv_columns import read_block
except ImportError:
    parquet = None
ARROW: Final = parquet is not None


def chunks(stream: IO[bytes], form: str, signature: Signature, size: int, keep: Sequence[str] = ()) -> Iterator[Chunk]:
    """Yield chunks of `size` rows; the last may be shorter. `keep` names the columns to keep. Raises InputFileError."""
    if signature.typed_in_code and form in {"csv", "parquet"}:
        raise InputFileError(NO_TABLE)
    try:
        match form:
            case "csv":
                yield from _csv(stream, signature, size, keep)
            case "parquet":
                yield from _parquet(stream, signature, size, keep)
            case "jsonl":
                yield from json_lines_chunks(stream, signature, size, keep)
            case _:
                yield from json_chunks(stream, signature, size, keep)
    except UnicodeDecodeError:
        raise InputFileError("the file is not UTF-8") from None
    except MalformedRequestError as error:
        raise InputFileError(str(error).replace("the body", "the file")) from None


class _LineBuffer:
    """An iterable of lines that keeps those read since the last `take`, because a row of CSV may span several."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._lines = lines
        self._kept: list[str] = []

    def __iter__(self) -> Iterator[str]:
        for line in self._lines:
            self._kept.append(line)
            yield line

    def take(self) -> str:
        text = "".join(self._kept)
        self._kept.clear()
        return text


def _csv(stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str]) -> Iterator[Chunk]:
    """Yield chunks of whole columns; without Arrow, or if Arrow cannot read a block exactly, cell by cell."""
    blocks = read_csv_blocks(stream)
    header = next(blocks)
    if not header.sound:
        raise _CsvRows(b"", header, signature).error()
    if not signature.columns:  # pandas looks at a whole column to say what it is
        text = b"".join(block.text for block in blocks)
        rest = CsvBlock(text=text, line=header.line + header.text.count(b"\n"))
        rows = _CsvRows(header.text, rest, signature, keep)
        yield from rows.chunks(len(rows))
        return
    for block in blocks:
        rows = _CsvRows(header.text, block, signature, keep)
        batch = read_block(header, block, signature) if ARROW else None
        yield from rows.chunks(size) if batch is None else _batch_chunks(batch, rows, signature, size)


class _CsvRows:
    """The rows of a block as texts, split when the first of them is needed."""

    def __init__(self, header: bytes, block: CsvBlock, signature: Signature, keep: Sequence[str] = ()) -> None:
        self._keep = keep
        self._header = header
        self._single = b"," not in header
        self._block = block
        self._signature = signature

    @cached_property
    def _rows(self) -> list[tuple[int, str]]:
        """Return the line number and the text of each row. Raises InputFileError, UnicodeDecodeError."""
        buffer = _LineBuffer(line.decode() for line in io.BytesIO(self._block.text))
        reader = csv.reader(buffer, strict=True)
        rows: list[tuple[int, str]] = []
        empty: list[int] = []
        before = 0
        try:
            for cells in reader:
                text = buffer.take()
                if cells:
                    rows.append((self._block.line + before, text))
                elif self._single:
                    empty.append(self._block.line + before)
                before = reader.line_num
        except csv.Error as error:
            raise InputFileError(f"line {self._block.line + reader.line_num - 1} is no CSV: {error}") from None
        if empty and rows and empty[0] < rows[-1][0]:
            raise InputFileError(f'line {empty[0]} is empty; a row of one empty cell is written as ""')
        return rows

    def __len__(self) -> int:
        return len(self._rows)

    def error(self) -> InputFileError:
        """Return the error of a block that is no CSV."""
        try:
            return InputFileError(f"the first of {len(self)} lines names no columns")
        except InputFileError as error:
            return error

    def chunks(self, size: int) -> Iterator[Chunk]:
        for before in range(0, len(self._rows), size or 1):
            count = min(size, len(self._rows) - before)
            yield Chunk(
                count=count,
                place=partial(self.place, before),
                request=partial(self.request, before),
                kept=self.kept(before, count),
            )

    def kept(self, before: int, count: int) -> Kept | None:
        if not self._keep:
            return None
        return kept_by_cells(self._header, (text for _, text in self._rows[before : before + count]), self._keep)

    @cached_property
    def kept_columns(self) -> Kept | None:
        """The kept columns of the whole block, None if they must be read by cells."""
        return kept_by_columns(self._header, self._block, self._keep) if self._keep else None

    def place(self, before: int, row: int) -> str:
        return f"line {self._rows[before + row][0]}"

    def request(self, before: int, first: int, end: int) -> Request:
        lines = [text for _, text in self._rows[before + first : before + end]]
        header = self._header if self._header.endswith(b"\n") else self._header + b"\n"
        return Request(input=read_csv(header + "".join(lines).encode(), self._signature))


def _batch_chunks(batch: Any, rows: _CsvRows, signature: Signature, size: int) -> Iterator[Chunk]:
    for before in range(0, batch.num_rows, size):
        part = batch.slice(before, size)
        columns = partial(table_request, part, signature)
        kept = rows.kept_columns
        yield Chunk(
            count=part.num_rows,
            place=partial(rows.place, before),
            request=partial(rows.request, before),
            columns=columns,
            kept=rows.kept(before, part.num_rows)
            if kept is None
            else {name: column[before : before + size] for name, column in kept.items()},
        )


def _parquet(stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str]) -> Iterator[Chunk]:
    if not ARROW:
        raise InputFileError(f"Parquet cannot be read: {missing_extra('pyarrow', 'tables')}")
    try:
        batches = parquet.ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read())).iter_batches(
            batch_size=size
        )
        before = 0
        for batch in batches:
            yield _parquet_chunk(batch, before, signature, kept_of_batch(batch, keep) if keep else None)
            before += batch.num_rows
    except (arrow.ArrowInvalid, arrow.ArrowNotImplementedError, OSError) as error:
        raise InputFileError(f"the file is no Parquet: {str(error).splitlines()[0]}") from None


def _parquet_chunk(batch: Any, before: int, signature: Signature, kept: Kept | None) -> Chunk:
    """Return the chunk of a batch; a model without a signature gets the frame of pandas, with its index."""
    if not signature.columns:
        return _frame_chunk(batch.to_pandas(), before, kept)

    def request(first: int, end: int) -> Request:
        return table_request(batch.slice(first, end - first), signature)

    return Chunk(
        count=batch.num_rows,
        place=lambda row: f"row {before + row + 1}",
        request=request,
        columns=lambda: request(0, batch.num_rows),
        kept=kept,
    )


def _frame_chunk(frame: Any, before: int, kept: Kept | None) -> Chunk:
    def request(first: int, end: int) -> Request:
        return Request(input=Frame(frame=frame.iloc[first:end].reset_index(drop=True)))

    return Chunk(count=len(frame), place=lambda row: f"row {before + row + 1}", request=request, kept=kept)
