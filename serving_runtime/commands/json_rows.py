"""Rows of a file of JSON or JSON lines, in chunks."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import IO, Any, Final

from serving_runtime.codec.strict_json import read_object, read_value
from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.commands.kept_columns import kept_of_lines, kept_of_records
from serving_runtime.input.request import Request
from serving_runtime.protocols.mlflow.request import CHAT_KEYS, FORMATS, PARAMS, STREAM, from_document
from serving_runtime.signature import Object, Signature
from serving_runtime.tables.csv_blocks import BYTE_ORDER_MARK
from serving_runtime.tables.tensor_lines import read_tensors

TABLES: Final = ("dataframe_split", "dataframe_records")
CHUNK: Final = 16 << 20  # bytes of lines
LISTS: Final = ("inputs", "instances")
NO_TABLE: Final = (
    "the model's own code takes values and not rows of a table: give the values as JSON lines, one on each line"
    ' (--input-format jsonl), or as JSON, {"inputs": [...]}'
)


def json_lines_chunks(lines: Iterable[bytes], signature: Signature, size: int, keep: Sequence[str]) -> Iterator[Chunk]:
    """Yield chunks of at most `size` lines, and of fewer if these are long.

    A line is a record, a value that the model's own code takes, or a body of the protocol.
    """
    rows: list[tuple[int, bytes]] = []
    known: set[str] = set()
    length = 0
    for number, line in enumerate(lines, 1):
        if line.isspace():
            continue
        if number == 1:
            line = line.removeprefix(BYTE_ORDER_MARK)  # noqa: PLW2901  the same line
        rows.append((number, line))
        length += len(line)
        if len(rows) == size or length >= CHUNK or (len(rows) == 1 and _is_body(line, signature)):
            yield _lines_chunk(rows, signature, keep, known)
            rows, length = [], 0
    if rows:
        yield _lines_chunk(rows, signature, keep, known)


def _lines_chunk(
    rows: Sequence[tuple[int, bytes]], signature: Signature, keep: Sequence[str], known: set[str]
) -> Chunk:
    number, line = rows[0]
    if _is_body(line, signature):
        _expect_no_keep(keep)
        return _body_chunk(line, f"line {number}", signature)

    def request(first: int, end: int) -> Request:
        lines = [line for _, line in rows[first:end]]
        if signature.typed_in_code:
            return from_document({"inputs": [read_value(line) for line in lines]}, signature)
        records = _complete([read_object(line) for line in lines], signature, known)
        return from_document({"dataframe_records": records}, signature)

    kept = kept_of_lines((line for _, line in rows), keep) if keep else None
    return Chunk(
        count=len(rows),
        place=lambda row: f"line {rows[row][0]}",
        request=request,
        kept=kept,
        columns=_columns([line for _, line in rows], signature),
    )


def _complete(records: Sequence[Any], signature: Signature, known: set[str]) -> list[Any]:
    """Return the records; the first gets a null for each column of the file that none of them has.

    Many writers leave out nulls, and a row must be scored alone as it is among others. `known` are the columns of the
    file so far; the columns of these records are added to it.
    """
    keys = set[str]().union(*(record for record in records if isinstance(record, dict)))
    known |= keys & signature.names
    if keys >= known or not isinstance(records[0], dict):
        return [*records]
    return [{**dict.fromkeys(known - keys), **records[0]}, *records[1:]]


def _columns(lines: Sequence[bytes], signature: Signature) -> Callable[[], Request] | None:
    """Return the request of whole columns, which is read by now; None if each value must be read alone."""
    request = read_tensors(lines, signature) if signature.tensors else None
    return None if request is None else lambda: request


def _expect_no_keep(keep: Sequence[str]) -> None:
    """Raise InputFileError if columns of a body of the protocol are to be kept."""
    if keep:
        raise InputFileError(
            "--keep-columns takes CSV, Parquet, or JSON records; this is a body of the protocol: leave it out"
        )


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


def _is_record(line: bytes, signature: Signature) -> bool:
    """Return True if the line is an object, and no body of the protocol."""
    document = _document(line)
    return isinstance(document, dict) and not _is_message(document, signature)


def _is_body(line: bytes, signature: Signature) -> bool:
    """Return True if the line is a body of the protocol, and not a record or a value."""
    document = _document(line)
    return isinstance(document, dict) and _is_message(document, signature)


def _document(line: bytes) -> Any:
    """Return the value of a line; None if it is no JSON, or nested too deep, which its strict reader reports."""
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _is_message(document: dict[str, Any], signature: Signature) -> bool:
    """Return True if an object is a body of the protocol, and not a record or a value."""
    names = {str(column.name) for column in signature.columns}
    if not signature.typed_in_code:
        return any(key in document and key not in names for key in (*FORMATS, *CHAT_KEYS))
    properties = {
        name for column in signature.columns if isinstance(column.type, Object) for name in column.type.properties
    }
    return len(document.keys() & {*FORMATS} - properties) == 1 and document.keys() <= {*FORMATS, PARAMS, STREAM}


def _list_key(document: dict[str, Any], signature: Signature) -> str | None:
    """Return the key of the list that has a row, of any type, as each element; None if there is no such list."""
    for key in LISTS:
        value = document.get(key)
        if isinstance(value, list) and (
            signature.typed_in_code
            or (signature.columns and not signature.named)
            or (signature.columns and value and all(isinstance(item, dict) for item in value))
        ):
            return key
    return None


def json_chunks(stream: IO[bytes], signature: Signature, size: int, keep: Sequence[str]) -> Iterator[Chunk]:
    """Yield chunks of an array of records, of an array of values that the model's own code takes, or of a body.

    The file is read whole, unless it has JSON lines: Spark and the exports of warehouses name those `.json` too. Raises
    InputFileError.
    """
    beginning = [stream.readline()]
    while beginning[-1].isspace():
        beginning.append(stream.readline())
    if _is_record(beginning[-1], signature):
        yield from json_lines_chunks(chain(beginning, stream), signature, size, keep)
        return
    body = b"".join((*beginning, stream.read())).removeprefix(BYTE_ORDER_MARK)
    is_array = body.lstrip().startswith(b"[")
    key = "inputs" if signature.typed_in_code else "dataframe_records"
    document = {key: read_value(body)} if is_array else read_object(body)
    form = next((key for key in TABLES if _rows_in(document, key) is not None), None)
    if form is not None and signature.typed_in_code:
        raise InputFileError(NO_TABLE)
    form = form or _list_key(document, signature)
    if form is None and not _is_message(document, signature):  # a record over several lines
        yield from json_lines_chunks([body], signature, size, keep)
        return
    if form != "dataframe_records":
        _expect_no_keep(keep)
    if form is None:
        yield Chunk(
            count=1, place=lambda _: "the body", request=lambda _, __: from_document(document, signature), whole=True
        )
        return
    rows = _rows_in(document, form) or []
    known: set[str] = set()
    _complete(rows, signature, known)
    for before in range(0, len(rows), size):
        part = range(before, min(before + size, len(rows)))
        kept = kept_of_records(rows[before : part.stop], keep) if keep else None
        yield replace(_part(document, form, part, signature, known), kept=kept)


def _part(document: dict[str, Any], form: str, part: range, signature: Signature, known: set[str]) -> Chunk:
    rows = _rows_in(document, form) or []
    names = (
        {key: value for key, value in document[form].items() if key == "columns"} if form == "dataframe_split" else None
    )

    def request(first: int, end: int) -> Request:
        some = _complete(rows[part.start + first : part.start + end], signature, known)
        return from_document({**document, form: some if names is None else {**names, "data": some}}, signature)

    return Chunk(count=len(part), place=lambda row: f"row {part.start + row + 1}", request=request)


def _rows_in(document: dict[str, Any], form: str) -> list[Any] | None:
    value = document.get(form)
    rows = value.get("data") if form == "dataframe_split" and isinstance(value, dict) else value
    return rows if isinstance(rows, list) and form in document else None
