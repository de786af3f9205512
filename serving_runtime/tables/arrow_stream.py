"""Arrow's stream of record batches (https://arrow.apache.org/docs/format/Columnar.html): read within bounds, written.

A few bytes can stand for any number of rows: by compressed buffers, nulls without a buffer, or views and dictionaries
that name one text again and again. The messages of a stream tell its decompressed size, before Arrow reads them.
"""

import struct
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from serving_runtime.codec.decompressed_size import CELL, MOST_GROWTH, decompressed_limit
from serving_runtime.codec.repeated_texts import is_text, repeated
from serving_runtime.errors import MalformedRequestError

END: Final = b"\xff\xff\xff\xff\0\0\0\0"
# Batches that any stream may have, and one more for each LEAST_BATCH bytes: a batch costs as much as their rows.
FEW_BATCHES: Final = 1000
LEAST_BATCH: Final = 4096  # bytes
# Places of the fields in the tables of Arrow's metadata (Message.fbs), and the kinds of its messages.
HEADER: Final = 2
NODES, BUFFERS, COMPRESSION = 1, 2, 3
DICTIONARY_ID, DICTIONARY_DATA, IS_DELTA = 0, 1, 2
OLD_COMPRESSION: Final = b"ARROW:experimental_compression"  # how Arrow 0.17 said that all buffers are compressed
UNCOMPRESSED: Final = -1  # the length of a buffer that is not compressed
# Types that other libraries write and that pyarrow has no class for.
UNKNOWN_TYPES: Final = frozenset({pa.lib.Type_INTERVAL_MONTHS, pa.lib.Type_INTERVAL_DAY_TIME})
# Types of Arrow's own extensions that have one value of another type in each cell.
EXTENSIONS: Final = frozenset({"arrow.bool8", "arrow.json", "arrow.uuid"})


class _Growth:
    """The decompressed size of a stream. Raises MalformedRequestError if it is too large for the stream's own size."""

    def __init__(self, body: bytes) -> None:
        self._allowed = decompressed_limit(len(body))
        self._size = 0

    def add(self, size: int) -> None:
        self._size += size
        if size < 0 or self._size > self._allowed:
            raise MalformedRequestError(
                f"the Arrow stream is more than {MOST_GROWTH} times as large once decompressed; send fewer rows"
            )


def read_stream(body: bytes) -> pa.Table:
    """Return the whole stream as a table. Raises MalformedRequestError."""
    growth = _Growth(body)
    try:
        _check_messages(body, growth)
        with ipc.open_stream(pa.BufferReader(body), options=ipc.IpcReadOptions(use_threads=False)) as reader:
            for field in reader.schema:
                check_type(field.name, field.type)
            batches = []
            for batch in reader:
                batch.validate(full=True)
                growth.add(sum(repeated(column) for column in batch.columns))
                batches.append(batch)
            return pa.Table.from_batches(batches, reader.schema)
    except (pa.ArrowException, OSError, ValueError, IndexError, struct.error) as error:
        raise MalformedRequestError(
            f"the body is no Arrow stream, or a damaged one ({type(error).__name__})"
        ) from error


def write_stream(table: pa.Table) -> bytes:
    written = pa.BufferOutputStream()
    with ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table)
    content: bytes = written.getvalue().to_pybytes()
    return content


def _check_messages(body: bytes, growth: _Growth) -> None:
    """Raise MalformedRequestError if the stream has no end, something after it, or messages of too much."""
    source = pa.BufferReader(body)
    dictionaries: dict[int, int] = {}
    for count, message in enumerate(ipc.MessageReader.open_stream(source)):
        if count > FEW_BATCHES + len(body) // LEAST_BATCH:
            raise MalformedRequestError("the Arrow stream has too many batches for what is in them; send fewer")
        metadata = memoryview(message.metadata)
        if message.type != "schema" and OLD_COMPRESSION in metadata.tobytes():
            raise MalformedRequestError(
                "the Arrow stream is compressed as by Arrow 0.17; write it with a later version"
            )
        header = _table(metadata, _root(metadata), HEADER)
        match message.type:
            case "dictionary":
                key = _number(metadata, header, DICTIONARY_ID)
                size = _size(metadata, _table(metadata, header, DICTIONARY_DATA), message.body)
                # More of a dictionary makes a new one of both.
                dictionaries[key] = size + (dictionaries.get(key, 0) if _is_set(metadata, header, IS_DELTA) else 0)
                growth.add(dictionaries[key])
            case "record batch":
                # Each batch has its dictionaries checked anew.
                growth.add(_size(metadata, header, message.body) + sum(dictionaries.values()))
    end = source.tell()
    if body[end - len(END) : end] != END:
        raise MalformedRequestError("the Arrow stream has no end; close its writer before you send it")
    if end != len(body):
        raise MalformedRequestError("the body has something after the end of the Arrow stream; send one stream")


def _size(metadata: memoryview, batch: int, body: Any) -> int:
    """Return the decompressed size of a batch in bytes, with at least some bytes for each cell."""
    nodes, buffers = (_pairs(metadata, batch, place) for place in (NODES, BUFFERS))
    if nodes.size and int(nodes[:, 0].min()) < 0:
        raise ValueError
    size = int(buffers[:, 1].sum())
    if _field(metadata, batch, COMPRESSION):
        compressed = memoryview(body)
        starts = buffers[buffers[:, 1] > 0, 0].tolist()
        lengths = [int.from_bytes(compressed[start : start + CELL], "little", signed=True) for start in starts]
        if min(lengths, default=0) < UNCOMPRESSED:
            raise ValueError
        size += sum(lengths)
    return max(size, CELL * int(nodes[:, 0].astype(object).sum()))


def check_type(name: str, kind: pa.DataType) -> None:
    """Raise MalformedRequestError for a type that pyarrow cannot read, or that lets few bytes stand for many values."""
    if pa.types.is_dictionary(kind):
        of = kind.value_type
        if not (pa.types.is_nested(of) or pa.types.is_dictionary(of) or isinstance(of, pa.BaseExtensionType)):
            check_type(name, of)
            return
    elif isinstance(kind, pa.BaseExtensionType):
        if kind.extension_name in EXTENSIONS:
            check_type(name, kind.storage_type)
            return
    elif pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind) or _is_struct(kind):
        for position in range(kind.num_fields):
            check_type(name, kind.field(position).type)
        return
    elif kind.id not in UNKNOWN_TYPES and _is_flat(kind):
        return
    raise MalformedRequestError(f'the column "{name}" has the Arrow type {kind}, which is not supported')


def _is_flat(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_null(kind) or is_text(kind) or pa.types.is_decimal(kind))


def _is_struct(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) or pa.types.is_fixed_size_list(kind))


def _root(metadata: memoryview) -> int:
    start: int = struct.unpack_from("<I", metadata, 0)[0]
    return start


def _field(metadata: memoryview, table: int, place: int) -> int:
    """Return the position of a field of a table of FlatBuffers; 0 if the table does not have it."""
    (back,) = struct.unpack_from("<i", metadata, table)
    (size,) = struct.unpack_from("<H", metadata, table - back)
    entry = 4 + 2 * place
    if entry + 2 > size:
        return 0
    offset: int = struct.unpack_from("<H", metadata, table - back + entry)[0]
    return table + offset if offset else 0


def _table(metadata: memoryview, table: int, place: int) -> int:
    field = _field(metadata, table, place)
    offset: int = struct.unpack_from("<I", metadata, field)[0]
    return field + offset


def _number(metadata: memoryview, table: int, place: int) -> int:
    field = _field(metadata, table, place)
    return int(struct.unpack_from("<q", metadata, field)[0]) if field else 0


def _is_set(metadata: memoryview, table: int, place: int) -> bool:
    field = _field(metadata, table, place)
    return bool(field and metadata[field])


def _pairs(metadata: memoryview, table: int, place: int) -> Any:
    """Return a vector of pairs of 64-bit numbers."""
    field = _field(metadata, table, place)
    if not field:
        return np.empty((0, 2), np.int64)
    vector = _table(metadata, table, place)
    (count,) = struct.unpack_from("<I", metadata, vector)
    return np.frombuffer(metadata, "<i8", 2 * count, vector + 4).reshape(count, 2)
