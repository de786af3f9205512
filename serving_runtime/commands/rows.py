"""Rows of a file, in chunks that fit into memory: those of CSV here, and of other formats in a module for each."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from types import MappingProxyType
from typing import IO, TYPE_CHECKING, Any, Final

import pandas as pd

from serving_runtime.codec.csv_names import known_names, taken_names
from serving_runtime.codec.csv_reader import csv_problem, csv_reader, is_too_long
from serving_runtime.codec.delimited import read_csv, read_frame, too_long_row
from serving_runtime.commands.arrow_rows import arrow_chunks
from serving_runtime.commands.chunk import Chunk, frame_chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.compressed import DAMAGED
from serving_runtime.commands.json_rows import NO_TABLE, json_chunks, json_lines_chunks
from serving_runtime.commands.kept_columns import Kept, header_names, kept_by_cells, kept_by_columns
from serving_runtime.commands.parquet_rows import parquet_chunks
from serving_runtime.commands.partition_columns import expect_columns, expect_each_once, with_partitions
from serving_runtime.commands.partitions import Partitions
from serving_runtime.commands.places import reason
from serving_runtime.commands.text_files import decoded_lines, text_of
from serving_runtime.errors import InvalidInputError, MalformedRequestError
from serving_runtime.input.request import Request
from serving_runtime.signature import Signature
from serving_runtime.tables.csv_blocks import CsvBlock, read_csv_blocks
from serving_runtime.tables.read_ahead import ReadAhead

try:  # the extra `tables`
    from serving_runtime.tables.arrow_tables import table_request
    from serving_runtime.tables.csv_columns import read_block

    ARROW = True
except ImportError:
    ARROW = False
if TYPE_CHECKING:
    import pyarrow as pa

COLUMNAR: Final = {"parquet": parquet_chunks, "arrow": arrow_chunks}
PARSERS: Final = 2  # threads that parse CSV, a block each: with Arrow's own in each block, the processor switched more
OF_EXCEL: Final = "sep="  # beginning of a first line that tells Excel the delimiter


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherColumns:
    """Columns beside the model's: those to keep, and those of the file's directories."""

    keep: Sequence[str]
    partitions: Partitions


def chunks(  # noqa: PLR0913, PLR0917  the last two are optional
    stream: IO[bytes],
    form: str,
    signature: Signature,
    size: int,
    keep: Sequence[str] = (),
    partitions: Partitions = MappingProxyType({}),
) -> Iterator[Chunk]:
    """Yield chunks of `size` rows; the last may be shorter. Raises InputFileError.

    `keep` names the columns to keep. `partitions` are columns of the file's directories.
    """
    for chunk in _chunks(stream, form, signature, size, OtherColumns(keep=keep, partitions=partitions)):
        yield with_partitions(chunk, partitions, signature, keep) if keep or partitions else chunk


def _chunks(stream: IO[bytes], form: str, signature: Signature, size: int, others: OtherColumns) -> Iterator[Chunk]:
    if signature.typed_in_code and (form == "csv" or form in COLUMNAR):
        raise InputFileError(NO_TABLE)
    try:
        if form in COLUMNAR:
            yield from COLUMNAR[form](stream, signature, size, others.keep, others.partitions)
            return
        stream = text_of(stream)
        match form:
            case "csv":
                yield from _csv(stream, signature, size, others)
            case "jsonl":
                yield from json_lines_chunks(stream, signature, size, others.keep)
            case _:
                yield from json_chunks(stream, signature, size, others.keep)
    except UnicodeDecodeError:
        raise InputFileError("the file is damaged: the name of a column, or another text in it, is not UTF-8") from None
    except MalformedRequestError as error:
        raise InputFileError(str(error).replace("the body", "the file")) from None
    except DAMAGED:
        raise InputFileError("the compressed file is cut or damaged; compress it again") from None
    except OSError as error:
        raise InputFileError(f"the file cannot be read: {reason(error)}") from None


def _is_file(stream: IO[bytes]) -> bool:
    """Return True for a file of this machine, as it is."""
    return isinstance(stream, io.BufferedReader) and isinstance(stream.raw, io.FileIO) and stream.seekable()


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


def _csv(stream: IO[bytes], signature: Signature, size: int, others: OtherColumns) -> Iterator[Chunk]:
    """Yield chunks of whole columns; without Arrow, or if Arrow cannot read a block exactly, cell by cell."""
    blocks = read_csv_blocks(stream, is_file=_is_file(stream))
    header = next(blocks)
    if not header.sound:
        raise _CsvRows(b"", header, signature).error()
    names = known_names(next(filter(None, csv_reader(decoded_lines(header.text))), []), signature, others.keep)
    if names and names[0].startswith(OF_EXCEL):
        raise InputFileError("line 1 tells Excel the delimiter (sep=); remove it, and separate the fields by commas")
    expect_each_once(taken_names(names, signature, others.keep))
    if not signature.columns:  # pandas looks at a whole column to say what it is
        text = b"".join(block.text for block in blocks)
        rest = CsvBlock(content=text, line=header.line + header.text.count(b"\n"))
        whole = _CsvRows(header.text, rest, signature, others.keep).frame_chunk()
        yield from [whole] if whole.count else []
        return
    block: CsvBlock | None = None
    for block, batch in _with_batches(header, blocks, signature):
        rows = _CsvRows(header.text, block, signature, others.keep)
        yield from rows.chunks(size) if batch is None else _batch_chunks(batch, rows, signature, size)
    if block is None and header.text:
        expect_columns(names, signature, others.partitions)


def _with_batches(
    header: CsvBlock, blocks: Iterable[CsvBlock], signature: Signature
) -> Iterator[tuple[CsvBlock, "pa.RecordBatch | None"]]:
    """Yield each block with what Arrow reads of it. The next one is read from the file while two are parsed."""

    def read(block: CsvBlock) -> "pa.RecordBatch | None":
        return read_block(header, block, signature) if ARROW else None

    with ThreadPoolExecutor(PARSERS) as pool, ReadAhead((block, pool.submit(read, block)) for block in blocks) as begun:
        for block, batch in begun:
            yield block, batch.result()


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
        """Return the line number and the text of each row. Raises InputFileError."""
        buffer = _LineBuffer(decoded_lines(self._block.text, self._block.line))
        reader = csv_reader(buffer, strict=True)
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
            line = self._block.line + (before if is_too_long(error) else reader.line_num - 1)
            raise InputFileError(f"line {line} is no CSV: {csv_problem(error)}") from None
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

    def frame_chunk(self) -> Chunk:
        """Return the chunk of the frame that pandas makes of all rows: of a row alone it might make other types.

        Raises InputFileError, MalformedRequestError.
        """
        self._rows = [row for row in self._rows if row[1].strip(" \t\r\n")]  # pandas reads no row of white space
        try:
            frame = read_frame(self._header + self._block.text, self._signature)
        except InvalidInputError:
            row, problem = too_long_row(self._names, csv_reader(text for _, text in self._rows)) or (0, "")
            raise InputFileError(f"{self.place(0, row)}: {problem}") from None
        if len(frame) != len(self):
            raise InputFileError(f"pandas reads {len(frame)} rows in the {len(self)} lines below the header")
        levels = 0 if isinstance(frame.index, pd.RangeIndex) else frame.index.nlevels  # as R writes the names of rows
        return frame_chunk(frame, partial(self.place, 0), self.kept(0, len(self), levels))

    def kept(self, before: int, count: int, levels: int = 0) -> Kept | None:
        if not self._keep:
            return None
        texts = (text for _, text in self._rows[before : before + count])
        return kept_by_cells(self._names, texts, self._keep, levels)

    @cached_property
    def _names(self) -> list[str]:
        return known_names(header_names(self._header), self._signature, self._keep)

    @cached_property
    def kept_columns(self) -> Kept | None:
        """The kept columns of the whole block, None if they must be read by cells."""
        return kept_by_columns(self._names, self._block, self._keep) if self._keep else None

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
