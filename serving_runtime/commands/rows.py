"""Rows of a file, in chunks that fit into memory; each row knows its place in the file."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import IO, Any, Final

from model_contract.extras import missing_extra
from serving_runtime.codec.delimited import read_csv
from serving_runtime.codec.strict_json import read_object, read_value
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.kept_columns import (
    Kept,
    kept_by_cells,
    kept_by_columns,
    kept_of_batch,
    kept_of_lines,
    kept_of_records,
)
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.forms import Frame, Request
from serving_runtime.protocols.mlflow.request import CHAT_KEYS, FORMATS, PARAMS, STREAM, from_document
from serving_runtime.signature import Object, Signature
from serving_runtime.tables.csv_blocks import CsvBlock, read_csv_blocks

try:  # the extra `tables`
    import pyarrow as arrow
    from pyarrow import parquet

    from serving_runtime.tables.csv_columns import read_block
    from serving_runtime.tables.request import table_request
except ImportError:
    parquet = None
ARROW: Final = parquet is not None

TABLES: Final = ("dataframe_split", "dataframe_records")
LISTS: Final = ("inputs", "instances")
NO_TABLE: Final = (
    "the model's own code says what it takes, and that is no row of a table: give the values as JSON lines, one on"
    ' each line (--input-format jsonl), or as JSON, {"inputs": [...]}'
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`count` rows; `place` says where one of them stands; `request` asks for those from a first one to before another.

    `whole`: a body that is sent as it is; how many rows it has is known when it is read against the signature.
    `columns` asks for all of them as whole columns; None if they must go cell by cell.
    """

    count: int
    place: Callable[[int], str]
    request: Callable[[int, int], Request]
    whole: bool = False
    columns: Callable[[], Request] | None = None
    kept: Kept | None = None


def chunks(stream: IO[bytes], form: str, signature: Signature, size: int, keep: Sequence[str] = ()) -> Iterator[Chunk]:
    """Of `size` rows each, but the last. Raises InputFileError."""
    if signature.typed_in_code and form in {"csv", "parquet"}:
        raise InputFileError(NO_TABLE)
    try:
        match form:
            case "csv":
                yield from _csv(stream, signature, size, keep)
            case "parquet":
                yield from _parquet(stream, signature, size, keep)
            case "jsonl":
                yield from _jsonl(stream, signature, size, keep)
            case _:
                yield from _json(stream, signature, size, keep)
    except UnicodeDecodeError:
        raise InputFileError("the file is not UTF-8") from None
    except MalformedRequestError as error:
        raise InputFileError(str(error).replace("the body", "the file")) from None


class _Recorder:
    """Lines as they are read, kept until somebody takes them: a row may span several."""

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
    """Whole columns at once if Arrow is installed; cell by cell without it, and in a block that Arrow cannot read
    exactly.
    """
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
    """The rows of a block as texts, cut when one of them is first asked for."""

    def __init__(self, header: bytes, block: CsvBlock, signature: Signature, keep: Sequence[str] = ()) -> None:
        self._keep = keep
        self._header = header
        self._single = b"," not in header
        self._block = block
        self._signature = signature

    @cached_property
    def _rows(self) -> list[tuple[int, str]]:
        """Of each row its line in the file and its text. Raises InputFileError, UnicodeDecodeError."""
        recorder = _Recorder(line.decode() for line in io.BytesIO(self._block.text))
        reader = csv.reader(recorder, strict=True)
        rows: list[tuple[int, str]] = []
        empty: list[int] = []
        before = 0
        try:
            for cells in reader:
                text = recorder.take()
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
        """Return what is wrong with a block that is no CSV."""
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
    """A model without a signature gets the frame that pandas makes of the file, index and all."""
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


def _jsonl(stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str]) -> Iterator[Chunk]:
    """A record on each line, or the value that the model's own code takes, or a body of the protocol."""
    rows: list[tuple[int, bytes]] = []
    for number, line in enumerate(stream, 1):
        if line.strip():
            rows.append((number, line))
        if len(rows) == (1 if rows and _is_body(rows[0][1], signature) else size):
            yield _lines_chunk(rows, signature, keep)
            rows = []
    if rows:
        yield _lines_chunk(rows, signature, keep)


def _lines_chunk(rows: Sequence[tuple[int, bytes]], signature: Signature, keep: Sequence[str]) -> Chunk:
    number, line = rows[0]
    if _is_body(line, signature):
        _expect_no_keep(keep)
        return _body_chunk(line, f"line {number}", signature)

    def request(first: int, end: int) -> Request:
        lines = [line for _, line in rows[first:end]]
        if signature.typed_in_code:
            return from_document({"inputs": [read_value(line) for line in lines]}, signature)
        return from_document({"dataframe_records": [read_object(line) for line in lines]}, signature)

    kept = kept_of_lines((line for _, line in rows), keep) if keep else None
    return Chunk(count=len(rows), place=lambda row: f"line {rows[row][0]}", request=request, kept=kept)


def _expect_no_keep(keep: Sequence[str]) -> None:
    if keep:
        raise InputFileError("--keep-columns takes CSV, Parquet, or JSON records; this is a body of the protocol")


def _body_chunk(line: bytes, place: str, signature: Signature) -> Chunk:
    document = json.loads(line)
    key = _list_key(document, signature)
    if key is None:
        return Chunk(
            count=1,
            place=lambda _: place,
            request=lambda _, __: from_document(read_object(line), signature),
            whole=True,
        )

    def request(first: int, end: int) -> Request:
        body = read_object(line)
        return from_document({**body, key: body[key][first:end]}, signature)

    return Chunk(count=len(document[key]), place=lambda row: f"{place}, {key}[{row}]", request=request)


def _is_body(line: bytes, signature: Signature) -> bool:
    try:
        document = json.loads(line)
    except ValueError:
        return False
    if not isinstance(document, dict):
        return False
    names = {str(column.name) for column in signature.columns}
    if not signature.typed_in_code:
        return any(key in document and key not in names for key in (*FORMATS, *CHAT_KEYS))
    properties = {
        name for column in signature.columns if isinstance(column.type, Object) for name in column.type.properties
    }
    return len(document.keys() & {*FORMATS} - properties) == 1 and document.keys() <= {*FORMATS, PARAMS, STREAM}


def _list_key(document: dict[str, Any], signature: Signature) -> str | None:
    """The key of a list of which each element is a row, whatever its type."""
    for key in LISTS:
        value = document.get(key)
        if isinstance(value, list) and (
            signature.typed_in_code
            or (signature.columns and not signature.named)
            or (signature.columns and value and all(isinstance(item, dict) for item in value))
        ):
            return key
    return None


def _json(stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str]) -> Iterator[Chunk]:
    """An array of records, or of values that the model's own code takes, or a body of the protocol:
    JSON is read whole.
    """
    body = stream.read()
    array = b'{"inputs":' if signature.typed_in_code else b'{"dataframe_records":'
    document = read_object(array + body + b"}" if body.lstrip().startswith(b"[") else body)
    form = next((key for key in TABLES if _rows_in(document, key) is not None), None)
    if form is not None and signature.typed_in_code:
        raise InputFileError(NO_TABLE)
    form = form or _list_key(document, signature)
    if form != "dataframe_records":
        _expect_no_keep(keep)
    if form is None:
        yield Chunk(
            count=1, place=lambda _: "the body", request=lambda _, __: from_document(document, signature), whole=True
        )
        return
    rows = _rows_in(document, form) or []
    for before in range(0, len(rows), size):
        kept = kept_of_records(rows[before : before + size], keep) if keep else None
        yield replace(_part(document, form, before, min(size, len(rows) - before), signature), kept=kept)


def _part(document: dict[str, Any], form: str, before: int, count: int, signature: Signature) -> Chunk:
    rows = _rows_in(document, form) or []
    names = (
        {key: value for key, value in document[form].items() if key == "columns"} if form == "dataframe_split" else None
    )

    def request(first: int, end: int) -> Request:
        part = rows[before + first : before + end]
        return from_document({**document, form: part if names is None else {**names, "data": part}}, signature)

    return Chunk(count=count, place=lambda row: f"row {before + row + 1}", request=request)


def _rows_in(document: dict[str, Any], form: str) -> list[Any] | None:
    value = document.get(form)
    rows = value.get("data") if form == "dataframe_split" and isinstance(value, dict) else value
    return rows if isinstance(rows, list) and form in document else None
