"""Bodies of Parquet that no writer makes are refused, before pyarrow believes what they say.

Footers and heads of pages are Thrift's compact protocol, as `serving_runtime/codec/parquet_footer.py` reads it.
"""

import io
import struct
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pytest
from pyarrow import parquet

from serving_runtime.codec.parquet_body import MOST_ELEMENTS, read_parquet
from serving_runtime.codec.parquet_footer import BINARY, BYTE, INT32, INT64, LIST, MAP, SET, STRUCT, TRUE
from serving_runtime.codec.parquet_pages import MOST_PAGES
from serving_runtime.errors import MalformedRequestError
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables.bodies import parquet_table

SIGNATURE = Signature(columns=(Column(name="a", type=Scalar(name="long"), required=False),))
MANY = 200_000_000
LONG, TEXT, FIXED = 2, 6, 7  # types of Parquet
PLAIN, DELTA, DICTIONARY = 0, 5, 8  # its encodings
SEVEN = struct.pack("<q", 7)
Field = tuple[int, int, bytes]


def varint(number: int) -> bytes:
    return bytes([number & 0x7F | 0x80]) + varint(number >> 7) if number > 0x7F else bytes([number])


def number(value: int) -> bytes:
    return varint(value << 1 if value >= 0 else -value * 2 - 1)


def text(value: bytes) -> bytes:
    return varint(len(value)) + value


def list_head(count: int, kind: int) -> bytes:
    return bytes([0xF0 | kind]) + varint(count)


def listed(*structs: bytes) -> bytes:
    return list_head(len(structs), STRUCT) + b"".join(structs)


def fields(*values: Field) -> bytes:
    """Return a struct."""
    return b"".join(bytes([kind]) + number(place) + value for place, kind, value in values) + b"\0"


def numbers(**values: int) -> list[Field]:
    return [(int(name[1:]), INT64 if name[0] == "l" else INT32, number(value)) for name, value in values.items()]


def page(values: int, content: bytes, *, encoding: int = PLAIN, decompressed: int | None = None) -> bytes:
    sizes = numbers(i1=0, i2=len(content) if decompressed is None else decompressed, i3=len(content))
    return fields(*sizes, (5, STRUCT, fields(*numbers(i1=values, i2=encoding, i3=3, i4=3)))) + content


def dictionary(content: bytes) -> bytes:
    head = numbers(i1=2, i2=len(content), i3=len(content))
    return fields(*head, (7, STRUCT, fields(*numbers(i1=1, i2=0)))) + content


def run(value: int, count: int) -> bytes:
    return varint(count << 1) + bytes([value])


def levels(*runs: bytes) -> bytes:
    content = b"".join(runs)
    return struct.pack("<I", len(content)) + content


def element(name: bytes, *more: Field) -> bytes:
    return fields(*more, (4, BINARY, text(name)))


def leaf(name: bytes, kind: int, *, optional: bool = False, length: int = 0) -> bytes:
    return element(name, *numbers(i1=kind, i2=length, i3=int(optional)))


def group(name: bytes, repetition: int, *, kind: int | None = None) -> bytes:
    return element(name, *numbers(i3=repetition, i5=1), *([] if kind is None else numbers(i6=kind)))


ROOT = group(b"schema", 0)
LIST_OF_LONGS = (group(b"a", 0, kind=3), group(b"list", 2), leaf(b"element", LONG, optional=True))


def parquet_file(  # noqa: PLR0913  what may lie
    pages: bytes = page(1, SEVEN),
    schema: Sequence[bytes] = (leaf(b"a", LONG),),
    *,
    rows: int = 1,
    values: int = 1,
    start: int = 0,
    path: Sequence[bytes] = (b"a",),
    kind: int = LONG,
    groups: int = 1,
    chunks: int = 1,
    extra: Sequence[Field] = (),
) -> bytes:
    names = list_head(len(path), BINARY) + b"".join(map(text, path))
    about = [(2, LIST, list_head(0, INT32)), (3, LIST, names), *numbers(i4=0, l5=values, l6=8, l7=len(pages))]
    dictionary_at = numbers(l11=4) if start else []
    meta = fields(*numbers(i1=kind), *about, *numbers(l9=4 + start), *dictionary_at)
    chunk = fields(*numbers(l2=4), (3, STRUCT, meta))
    row_group = fields((1, LIST, listed(*[chunk] * chunks)), *numbers(l2=8, l3=rows))
    footer = fields(
        *numbers(i1=2),
        (2, LIST, listed(ROOT, *schema)),
        *numbers(l3=rows * groups),
        (4, LIST, listed(*[row_group] * groups)),
        *extra,
    )
    return b"PAR1" + pages + footer + struct.pack("<I", len(footer)) + b"PAR1"


def unknown(kind: int, value: bytes, place: int = 100) -> bytes:
    return parquet_file(extra=[(place, kind, value)])


def with_dictionary(entry: bytes, content: bytes, values: int) -> tuple[bytes, int]:
    """Return pages, and the place of the second one."""
    first = dictionary(entry)
    return first + page(values, content, encoding=DICTIONARY), len(first)


def equal_numbers(count: int, **said: int) -> bytes:
    pages, start = with_dictionary(SEVEN, b"\x01" + run(0, count), count)
    return parquet_file(pages, start=start, **said)


def one_list(count: int) -> bytes:
    """Return a file with one row, a list of `count` equal numbers, whose footer says that there is one number."""
    content = levels(run(0, 1), run(1, count - 1)) + levels(run(2, count)) + b"\x01" + run(0, count)
    pages, start = with_dictionary(SEVEN, content, count)
    return parquet_file(pages, LIST_OF_LONGS, start=start, path=(b"a", b"list", b"element"))


def written(table: pa.Table) -> bytes:
    body = io.BytesIO()
    parquet.write_table(table, body, compression="zstd")
    return body.getvalue()


NO_FILE, GROWS, COLUMNS, GROUPS = "is no Parquet file", "100 times as large", "more than 2000 columns", "row groups"
HOSTILE: Mapping[str, tuple[bytes, str]] = {
    # Arrow takes 32 bits of these counts, and 16 of a field's number.
    "a list of 2**32 bytes": (unknown(LIST, list_head(1 << 32, BYTE)), NO_FILE),
    "a list of 2**62 booleans": (unknown(LIST, list_head(1 << 62, TRUE)), NO_FILE),
    "a set of 2**32 structs": (unknown(SET, list_head(1 << 32, STRUCT)), NO_FILE),
    "a map of 2**32 values": (unknown(MAP, varint(1 << 32)), NO_FILE),
    "a text of 2**32 bytes": (unknown(BINARY, varint(1 << 32)), NO_FILE),
    "a number of a megabyte": (unknown(INT64, b"\x80" * (1 << 20) + b"\0"), NO_FILE),
    "structs in structs": (unknown(STRUCT, b"\x1c" * 100_000 + b"\0" * 100_001), NO_FILE),
    "row groups by another number": (unknown(LIST, listed(), 65_536 + 4), NO_FILE),
    "no chunk": (parquet_file(chunks=0), NO_FILE),
    "columns without chunks": (parquet_file(schema=[leaf(b"a", LONG)] * (MOST_ELEMENTS + 1)), COLUMNS),
    "chunks without columns": (parquet_file(chunks=30_000), GROUPS),
    "a page of more values": (equal_numbers(MANY, rows=MANY), GROWS),
    "row groups that share a page": (equal_numbers(10_000, rows=10_000, groups=200), GROWS),
    "a page of nulls": (
        parquet_file(page(MANY, levels(run(0, MANY))), [leaf(b"a", LONG, optional=True)], rows=MANY),
        GROWS,
    ),
    "a page of equal steps": (
        parquet_file(page(MANY, varint(MANY) + varint(4) + varint(MANY) + b"\0\0\0\0\0\0", encoding=DELTA), rows=MANY),
        GROWS,
    ),
    "one row of more values": (one_list(MANY), GROWS),
    "a page that decompresses to more": (parquet_file(page(1, SEVEN, decompressed=1 << 30)), GROWS),
    "long cells of nulls": (
        parquet_file(
            page(1000, levels(run(0, 1000))),
            [leaf(b"a", FIXED, optional=True, length=1 << 20)],
            rows=1000,
            values=1000,
            kind=FIXED,
        ),
        GROWS,
    ),
    "a page that ends before its beginning": (parquet_file(page(1, SEVEN)[:-12]), NO_FILE),
    "empty pages": (parquet_file(page(0, b"") * (MOST_PAGES + 1)), "too many pages"),
    "one long text in a list": (written(pa.table({"a": [1], "b": [["x" * 10_000] * 2_000]})), GROWS),
    "one long text in an object of a list": (written(pa.table({"b": [[{"c": "x" * 10_000}] * 2_000]})), GROWS),
}  # fmt: skip  one entry a line


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_lies_is_refused_before_it_is_read(name: str) -> None:
    body, problem = HOSTILE[name]

    with pytest.raises(MalformedRequestError, match=problem):
        parquet_table(body, SIGNATURE)
    with pytest.raises(MalformedRequestError, match=problem):
        read_parquet(body)


def test_the_same_file_without_a_lie_is_read() -> None:
    for body in (
        parquet_file(),
        equal_numbers(1),
        one_list(1),
        unknown(LIST, list_head(3, BYTE) + b"abc"),
        unknown(MAP, varint(1) + bytes([INT64 << 4 | TRUE]) + number(1) + b"\1"),
    ):
        assert list(parquet_table(body, SIGNATURE).columns["a"]) in ([7], [[7]])


def test_texts_in_lists_are_read_from_several_row_groups_and_without_a_dictionary() -> None:
    tags = [["red", None], None, [], ["green"]] * 10
    body = io.BytesIO()
    parquet.write_table(pa.table({"a": range(40), "b": tags}), body, row_group_size=7, use_dictionary=["a"])

    assert parquet_table(body.getvalue(), SIGNATURE).rows == 40
