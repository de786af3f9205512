"""Rows of a file, in chunks that fit into memory; each row knows its place in the file."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any, Final

from serving_runtime.codec.delimited import read_csv
from serving_runtime.codec.strict_json import read_object
from serving_runtime.commands.ends import InputFileError
from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.forms import Frame, Request
from serving_runtime.invocations import CHAT_KEYS, FORMATS, from_document
from serving_runtime.signature import Signature

TABLES: Final = ("dataframe_split", "dataframe_records")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """`count` rows; `place` says where one of them stands; `request` asks for those from a first one to before another."""

    count: int
    place: Callable[[int], str]
    request: Callable[[int, int], Request]


def chunks(stream: IO[bytes], form: str, signature: Signature, size: int) -> Iterator[Chunk]:
    """Of `size` rows each, but the last. Raises InputFileError."""
    try:
        match form:
            case "csv":
                # Without a signature pandas looks at a whole column to say what it is.
                yield from _csv(stream, signature, size if signature.columns else None)
            case "parquet":
                yield from _parquet(stream, size)
            case "jsonl":
                yield from _jsonl(stream, signature, size)
            case _:
                yield from _json(stream, signature, size)
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


def _csv(stream: IO[bytes], signature: Signature, size: int | None) -> Iterator[Chunk]:
    recorder = _Recorder(line.decode("utf-8" if number else "utf-8-sig") for number, line in enumerate(stream))
    reader = csv.reader(recorder, strict=True)
    try:
        if next(reader, None) is None:
            raise InputFileError("the file is empty; its first line must name the columns")
        header = recorder.take()
        rows: list[tuple[int, str]] = []
        before = reader.line_num
        for cells in reader:
            text = recorder.take()
            if cells:
                rows.append((before + 1, text))
            before = reader.line_num
            if len(rows) == size:
                yield _csv_chunk(header, rows, signature)
                rows = []
    except csv.Error as error:
        raise InputFileError(f"line {reader.line_num} is no CSV: {error}") from None
    if rows:
        yield _csv_chunk(header, rows, signature)


def _csv_chunk(header: str, rows: Sequence[tuple[int, str]], signature: Signature) -> Chunk:
    def request(first: int, end: int) -> Request:
        return Request(input=read_csv("".join([header, *(text for _, text in rows[first:end])]).encode(), signature))

    return Chunk(count=len(rows), place=lambda row: f"line {rows[row][0]}", request=request)


def _parquet(stream: IO[bytes], size: int) -> Iterator[Chunk]:
    try:
        from pyarrow import ArrowInvalid, parquet  # noqa: PLC0415  only a file of its kind needs it
    except ImportError:
        raise InputFileError("Parquet is read by pyarrow, which is not installed; install it, or convert the file to CSV") from None
    try:
        batches = parquet.ParquetFile(stream if stream.seekable() else io.BytesIO(stream.read())).iter_batches(batch_size=size)
        for number, batch in enumerate(batches):
            yield _frame_chunk(batch.to_pandas(), number * size)
    except ArrowInvalid as error:
        raise InputFileError(f"the file is no Parquet: {str(error).splitlines()[0]}") from None


def _frame_chunk(frame: Any, before: int) -> Chunk:
    def request(first: int, end: int) -> Request:
        return Request(input=Frame(frame=frame.iloc[first:end].reset_index(drop=True)))

    return Chunk(count=len(frame), place=lambda row: f"row {before + row + 1}", request=request)


def _jsonl(stream: IO[bytes], signature: Signature, size: int) -> Iterator[Chunk]:
    """A record on each line, or a body of the protocol."""
    rows: list[tuple[int, bytes]] = []
    for number, line in enumerate(stream, 1):
        if line.strip():
            rows.append((number, line))
        if len(rows) == (1 if rows and _is_body(rows[0][1], signature) else size):
            yield _lines_chunk(rows, signature)
            rows = []
    if rows:
        yield _lines_chunk(rows, signature)


def _lines_chunk(rows: Sequence[tuple[int, bytes]], signature: Signature) -> Chunk:
    def request(first: int, end: int) -> Request:
        if _is_body(rows[0][1], signature):
            return from_document(read_object(rows[0][1]), signature)
        return from_document({"dataframe_records": [read_object(line) for _, line in rows[first:end]]}, signature)

    return Chunk(count=len(rows), place=lambda row: f"line {rows[row][0]}", request=request)


def _is_body(line: bytes, signature: Signature) -> bool:
    try:
        keys = json.loads(line)
    except ValueError:
        return False
    columns = {str(column.name) for column in signature.columns}
    return isinstance(keys, dict) and any(key in keys and key not in columns for key in (*FORMATS, *CHAT_KEYS))


def _json(stream: IO[bytes], signature: Signature, size: int) -> Iterator[Chunk]:
    """An array of records, or a body of the protocol: JSON is read whole."""
    body = stream.read()
    document = read_object(b'{"dataframe_records":' + body + b"}" if body.lstrip().startswith(b"[") else body)
    form = next((key for key in TABLES if _rows_in(document, key) is not None), None)
    if form is None:
        yield Chunk(count=1, place=lambda _: "the body", request=lambda _, __: from_document(document, signature))
        return
    rows = _rows_in(document, form) or []
    for before in range(0, len(rows), size):
        yield _part(document, form, before, min(size, len(rows) - before), signature)


def _part(document: dict[str, Any], form: str, before: int, count: int, signature: Signature) -> Chunk:
    rows = _rows_in(document, form) or []
    names = {key: value for key, value in document[form].items() if key == "columns"} if form == "dataframe_split" else None

    def request(first: int, end: int) -> Request:
        part = rows[before + first : before + end]
        return from_document({**document, form: part if names is None else {**names, "data": part}}, signature)

    return Chunk(count=count, place=lambda row: f"row {before + row + 1}", request=request)


def _rows_in(document: dict[str, Any], form: str) -> list[Any] | None:
    value = document.get(form)
    rows = value.get("data") if form == "dataframe_split" and isinstance(value, dict) else value
    return rows if isinstance(rows, list) and form in document else None
