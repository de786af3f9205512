"""Reading of a block of CSV text by Arrow into a record batch of the signature's types.

Arrow accepts more than `codec/delimited.py`, such as hexadecimal numbers. A block with anything that the two might read
differently is left to that module, which reads each cell and names a wrong one.
"""

import csv
import io
import re
from contextlib import suppress
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from serving_runtime.codec.csv_names import known_names, taken_names
from serving_runtime.codec.csv_reader import csv_reader
from serving_runtime.codec.delimited import BOOLEANS, NULLS
from serving_runtime.input.cells import CellError, convert
from serving_runtime.signature import Scalar, Signature, Type
from serving_runtime.tables.arrow_tables import types_of
from serving_runtime.tables.csv_blocks import CsvBlock

# Types as Arrow reads them from text. A float is read as a double first, as a request's number is.
READ_AS: Final = {"integer": pa.int32(), "long": pa.int64(), "float": pa.float64(), "double": pa.float64()}
WORDS: Final = sorted(NULLS)  # each has an n, but for the empty one
NULL_WORDS: Final = pa.array(WORDS)
WHOLE: Final = frozenset({"integer", "long"})
# From here on a double, or a float, may be another number than the text's.
EXACT: Final = {"double": 2.0**53, "float": 2.0**24}
LONGEST: Final = 1 << 30  # bytes of a block, which Arrow counts in 32 bits
PIECE: Final = 1 << 20  # bytes that Arrow splits into cells and converts while they are in the processor's cache
EMPTY_LINE: Final = re.compile(rb"(?:\A|\n)\r?\n")  # in a file of one column, which may be an empty cell or no row
HEXADECIMAL: Final = ((b"x", b"0x"), (b"X", b"0X"))  # the letter, which is found fast, and the beginning of a number
PLAIN_TIME: Final = r"^\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}:\d{2}(?:\.\d{1,9})?)?$"
# Years whose nanoseconds a 64-bit number holds whole.
FIRST_YEAR, LAST_YEAR = "1678", "2262"


def read_block(header: CsvBlock, block: CsvBlock, signature: Signature) -> pa.RecordBatch | None:
    """Return the rows of a block, with the signature's columns only; None if each cell must be read alone."""
    names = _names(header, signature)
    if names is None or not block.sound:
        return None
    kinds = types_of(names, signature)
    if _is_doubtful(block, integers=any(_name(kind) in WHOLE for kind in kinds.values())):
        return None
    if len(names) == 1 and EMPTY_LINE.search(block.text):
        return None
    known = [name for name in names if kinds[name] is not None or not signature.named]
    if not known:
        return None
    if len(known) < len(names) and not _is_utf8(block.text):  # Arrow looks at texts that it converts only
        return None
    types = {name: READ_AS.get(_name(kinds[name]), pa.string()) for name in known}
    options = arrow_csv.ConvertOptions(
        column_types=types, include_columns=known, null_values=_nulls(block), strings_can_be_null=False
    )
    try:
        table = _read(block, names, options)
        columns = [_checked(table.column(name), _name(kinds[name])) for name in known]
    except (pa.ArrowInvalid, pa.ArrowKeyError, CellError):
        return None
    if any(column is None for column in columns):
        return None
    return pa.RecordBatch.from_arrays(columns, names=known)


def parse_options(block: CsvBlock) -> Any:
    """Return options for the block: without quotes in it, Arrow looks for none and is a tenth faster."""
    return arrow_csv.ParseOptions(quote_char='"' if block.quoted else False, newlines_in_values=block.quoted)


def _read(block: CsvBlock, names: list[str], options: Any) -> pa.Table:
    """Return the table of a block, of which Arrow converts a piece at a time: it comes to each line for each column.

    A block with quotes is one piece, because Arrow would look for all quotes once more to part it. Raises ArrowInvalid.
    """

    def read(size: int) -> pa.Table:
        return arrow_csv.read_csv(
            pa.BufferReader(block.content),
            read_options=arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=min(size, LONGEST)),
            parse_options=parse_options(block),
            convert_options=options,
        )

    if not block.quoted:
        with suppress(pa.ArrowInvalid):  # of a record that is longer than a piece, or of a wrong cell
            return read(PIECE)
    return read(len(block.content))


def _nulls(block: CsvBlock) -> list[str]:
    """Return the words for null that the block may have; Arrow compares each cell with each of them."""
    return [""] if block.marks.isdisjoint((b"N", b"n")) else WORDS


def _names(header: CsvBlock, signature: Signature) -> list[str] | None:
    """Return the names of the columns; None if they are no CSV, or if the model takes one that comes twice."""
    try:
        cells = next(cells for cells in csv_reader(io.StringIO(header.text.decode(), newline=""), strict=True) if cells)
    except (csv.Error, UnicodeDecodeError, StopIteration):
        return None
    names = known_names(cells, signature)
    taken = taken_names(names, signature)
    return names if len(set(taken)) == len(taken) else None


def _is_doubtful(block: CsvBlock, *, integers: bool) -> bool:
    """Return True if Arrow might read the text differently.

    Arrow accepts a NUL byte, a hexadecimal integer, and a lone carriage return as the end of a line, and reads "" as an
    empty cell. A search for one byte takes a thirtieth of the time of one for two, so it goes first.
    """
    hexadecimal = integers and any(first in block.text and both in block.text for first, both in HEXADECIMAL)
    empty = block.quoted and b'""' in block.text
    returns = b"\r" in block.marks and block.text.count(b"\r") != block.text.count(b"\r\n")
    return b"\0" in block.marks or empty or hexadecimal or returns


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def _name(kind: Type | None) -> str:
    return kind.name if isinstance(kind, Scalar) else ""


def _checked(column: pa.ChunkedArray, kind: str) -> Any:
    """Return the column as one array; None if each cell must be read alone."""
    values = column.combine_chunks()
    if kind in WHOLE:
        return values
    if kind in READ_AS:
        return values if _is_exact(values, EXACT[kind]) else None
    texts = pc.if_else(pc.equal(values, ""), pa.scalar(None, pa.string()), values)
    if kind != "string" and pc.any(pc.is_in(pc.drop_null(texts), value_set=NULL_WORDS)).as_py():
        return None  # a word for null, which stays a text in a column of texts only
    match kind:
        case "boolean":
            return _booleans(texts)
        case "datetime":
            return _times(texts)
        case _:
            return texts


def _is_exact(values: pa.Array, limit: float) -> bool:
    """Return True if all numbers are below the limit and none is NaN: Arrow accepts more words for infinity and NaN.

    The largest of numpy's numbers is NaN if one of them is.
    """
    numbers = (values if values.null_count == 0 else pc.drop_null(values)).to_numpy()
    return not len(numbers) or bool(-limit < numbers.min() and numbers.max() < limit)


def _booleans(texts: pa.Array) -> Any:
    known = pa.array(list(BOOLEANS))
    if pc.any(pc.invert(pc.is_in(pc.drop_null(texts), value_set=known))).as_py():
        return None
    return pc.take(pa.array(list(BOOLEANS.values())), pc.index_in(texts, value_set=known))


def _times(texts: pa.Array) -> Any:
    """Convert texts of one plain form by Arrow, and others one by one, each different text once."""
    words = pc.drop_null(texts)
    zulu = bool(len(words)) and pc.all(pc.ends_with(words, "Z")).as_py()
    plain = pc.utf8_slice_codeunits(texts, 0, -1) if zulu else texts
    shown = pc.drop_null(plain)
    if pc.all(pc.match_substring_regex(shown, PLAIN_TIME)).as_py():
        bounds = pc.min_max(shown).as_py()
        if len(shown) and bounds["min"] >= FIRST_YEAR and bounds["max"] < LAST_YEAR:
            return pc.cast(plain, pa.timestamp("ns"))
    coded = texts.dictionary_encode()
    moments = pa.array(convert(coded.dictionary.to_pylist(), np.dtype("datetime64[ns]")))
    return pc.take(moments, coded.indices)
