"""CSV bodies."""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from itertools import islice
from typing import Any

import pandas as pd

from serving_runtime.codec.csv_names import known_names, taken_names
from serving_runtime.codec.csv_reader import csv_problem, csv_reader
from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.request import TypedFrame
from serving_runtime.input.table import Table, delimiter_advice
from serving_runtime.signature import Scalar, Signature

PATH = "csv"
# The words that pandas reads as a missing value in a CSV file by default.
NULLS = frozenset(
    (
        "",
        "#N/A",
        "#N/A N/A",
        "#NA",
        "-1.#IND",
        "-1.#QNAN",
        "-NaN",
        "-nan",
        "1.#IND",
        "1.#QNAN",
        "<NA>",
        "N/A",
        "NA",
        "NULL",
        "NaN",
        "None",
        "n/a",
        "nan",
        "null",
    )
)  # fmt: skip  one list
EMPTY = frozenset(("",))
TYPES_WITH_NULL_WORDS = frozenset(("boolean", "integer", "long", "float", "double", "datetime"))
EXACT = 2.0**53  # from here on a double may be another number than the text's
LARGE = 2.0**70  # beyond every 64-bit type, which refuses the number however it is read
BLANK = "\ue000"  # a letter of the private use area, to which Unicode gives no meaning
# A cell in quotes, matched from its beginning only. A pattern that also matched in the middle of a cell would read the
# rest of the body again and again.
QUOTED = re.compile(r'(?<![^,\r\n])"(?:[^"]|"")*+"(?![^,\r\n])')
PANDAS_TYPES = {"boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
# To guess the type of a CSV's column costs pandas 1.4 KB and 15 microseconds: more columns than these need this length.
FEW_COLUMNS = 20_000
LEAST_COLUMN = 32  # characters
BLOCK = 4096  # lines that are read at a time: nothing else runs while the reader of lines does
# 1 and 0 are booleans to pandas and many databases, and PostgreSQL exports t and f.
BOOLEANS = {
    **dict.fromkeys(("true", "True", "TRUE", "1", "t"), True),
    **dict.fromkeys(("false", "False", "FALSE", "0", "f"), False),
}


def read_csv(body: bytes, signature: Signature) -> Table | TypedFrame:
    """Read a header and a line for each row, with the cells in the signature's types.

    Raises MalformedRequestError, InvalidInputError.
    """
    text = _text(body)
    if not signature.columns:
        return TypedFrame(frame=_frame(text, signature))
    text, blank = _with_marked_empty_texts(text)
    header, cells, rows = _by_column(text, blank, signature)
    kinds = {str(column.name): column.type for column in signature.columns}
    if not signature.named:
        kinds = dict(zip(header, (column.type for column in signature.columns), strict=False))
    return Table(
        columns={
            name: list(_values(column, kinds.get(name), blank)) for name, column in zip(header, cells, strict=True)
        },
        rows=rows,
        path=PATH,
        place=_place,
    )


def read_csv_as_pandas(body: bytes, signature: Signature) -> TypedFrame:
    """Read the body as MLflow's server does, but parse times afterwards. Raises MalformedRequestError."""
    if not signature.named:
        return TypedFrame(frame=_frame(_text(body), signature))
    kinds = {str(column.name): column.type.name for column in signature.columns if isinstance(column.type, Scalar)}
    types = {name: PANDAS_TYPES.get(kind, "object") for name, kind in kinds.items() if kind != "datetime"}
    try:
        frame = pd.read_csv(io.StringIO(_text(body)), dtype=types)
        for name in frame.columns.intersection([name for name, kind in kinds.items() if kind == "datetime"]):
            frame[name] = pd.to_datetime(frame[name]).dt.as_unit("ns")
        return TypedFrame(frame=frame)
    except (ValueError, TypeError, AttributeError, pd.errors.ParserError) as error:
        raise MalformedRequestError(
            f"the body is no CSV that pandas can read as the signature says ({type(error).__name__})"
        ) from None


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 (at byte {error.start})") from None


def _expect_each_once(header: Sequence[str], signature: Signature) -> None:
    """Raise MalformedRequestError if it is not clear which of two columns the model takes."""
    names = taken_names(header, signature)
    if len(set(names)) < len(names):
        raise MalformedRequestError("the header of the CSV body has a name that comes twice")


def read_frame(body: bytes, signature: Signature) -> pd.DataFrame:
    """Read the body as pandas does, for a model without columns in its signature. Raises MalformedRequestError."""
    return _frame(_text(body), signature)


def _frame(text: str, signature: Signature) -> pd.DataFrame:
    """Raises MalformedRequestError, InvalidInputError."""
    try:
        header = next(csv_reader(io.StringIO(text, newline="")), [])
        _expect_each_once(header, signature)
        if len(header) > FEW_COLUMNS + len(text) // LEAST_COLUMN:
            raise MalformedRequestError("the CSV body has too many columns for its length; send it as JSON")
        return pd.read_csv(io.StringIO(text))
    except (ValueError, csv.Error, pd.errors.ParserError) as error:
        if isinstance(error, pd.errors.ParserError) and (fault := _too_long(header, text)):
            raise InvalidInputError([Fault(path=f"{PATH}[{fault[0]}]", problem=fault[1])]) from None
        raise MalformedRequestError(f"the body is no CSV that pandas can read ({type(error).__name__})") from error


def _too_long(header: Sequence[str], text: str) -> tuple[int, str] | None:
    return too_long_row(header, islice(filter(None, csv_reader(io.StringIO(text, newline=""))), 1, None))


def too_long_row(header: Sequence[str], rows: Iterable[Sequence[str]]) -> tuple[int, str] | None:
    """Return the first row with more values than the header and the first row have, which pandas refuses, and why."""
    most = len(header)
    for row, cells in enumerate(rows):
        most = max(most, len(cells)) if row == 0 else most  # if the first row has more, pandas takes an index from all
        if len(cells) > most:
            return row, f"{len(cells)} values, where the header has {len(header)}{delimiter_advice(header)}"
    return None


def _by_column(  # noqa: C901  one pass over the lines
    text: str, blank: str | None, signature: Signature
) -> tuple[list[str], list[list[str]], int]:
    """Return the header, the texts of each column and the number of rows. `blank` stands for an empty text.

    Raises MalformedRequestError, InvalidInputError.
    """
    header: list[str] = []
    columns: list[list[str]] = []
    faults: list[Fault] = []
    rows = between = empty = 0
    for block in _blocks(text):
        lines = []
        for line in block:
            if not line:
                empty += 1
                continue
            between, empty = between + (empty if header else 0), 0
            if not header:
                header = known_names(["" if name == blank else name for name in line], signature)
                columns = [[] for _ in header]
            elif len(line) == len(header):
                lines.append(line)
                rows += 1
            else:
                if len(faults) < MOST_FAULTS:
                    problem = f"{len(line)} values, where the header has {len(header)}{delimiter_advice(header)}"
                    faults.append(Fault(path=f"{PATH}[{rows}]", problem=problem))
                rows += 1
        for column, cells in zip(columns, zip(*lines, strict=True) if lines else (), strict=False):
            column.extend(cells)
    if not header:
        raise MalformedRequestError("the CSV body is empty; its first line must name the columns")
    if len(header) == 1 and between:
        raise MalformedRequestError(
            'the CSV body has an empty line between its lines; a row of one empty cell is written as ""'
        )
    _expect_each_once(header, signature)
    if faults:
        raise InvalidInputError(faults)
    return header, columns, rows


def _blocks(text: str) -> Iterator[list[list[str]]]:
    """Yield the lines, some at a time. Raises MalformedRequestError."""
    reader = csv_reader(io.StringIO(text, newline=""), strict=True)
    try:
        while block := list(islice(reader, BLOCK)):
            yield block
    except csv.Error as error:
        raise MalformedRequestError(f"the body is no CSV: {csv_problem(error)}") from None


def _with_marked_empty_texts(text: str) -> tuple[str, str | None]:
    """Return the text with a marker in place of each empty text in quotes, and the marker.

    Without the marker, the reader of lines takes an empty text in quotes for an empty cell.
    """
    if '""' not in text:
        return text, None
    marker = BLANK
    while marker in text:
        marker += BLANK
    return QUOTED.sub(lambda cell: marker if cell[0] == '""' else cell[0], text), marker


def _values(cells: Any, kind: Any, blank: str | None) -> Iterator[Any]:
    """Yield the values of the cells. A text that is no value of its type stays a text, which the checks refuse.

    Words for null stay texts in a column of texts, and in a column of base64, where `null` and `None` are bytes.
    """
    name = kind.name if isinstance(kind, Scalar) else ""
    nulls = NULLS if name in TYPES_WITH_NULL_WORDS else EMPTY
    for cell in cells:
        text = "" if cell == blank and name in TYPES_WITH_NULL_WORDS else cell
        try:
            if text == blank and blank is not None:
                yield ""
            else:
                yield None if text in nulls else _value(text, name)
        except ValueError:
            yield text


def read_cell(text: str, kind: Any) -> Any:
    """Return the value of a text as that of a cell of the type."""
    return next(_values((text,), kind, None))


def _value(text: str, kind: str) -> Any:
    """Return the value as JSON would have it, because the checks are those of a JSON body."""
    match kind:
        case "boolean" if text in BOOLEANS:
            return BOOLEANS[text]
        case "boolean":
            raise ValueError
        case "integer" | "long":
            return _whole_number(text)
        case "float" | "double":
            return int(text) if text.isascii() and text.strip().removeprefix("-").isdecimal() else _number(text)
        case _:
            return text


def _whole_number(text: str) -> int | float:
    """Return a whole number unrounded, also if it is written with a fraction or an exponent."""
    if text.isascii() and text.strip().removeprefix("-").isdecimal():
        return int(text)
    number = _number(text)
    if EXACT <= abs(number) < LARGE:
        exact = Decimal(text.strip())
        return int(exact) if exact == exact.to_integral_value() else number
    return number


def _number(text: str) -> float:
    if "_" in text or not text.isascii():  # Python reads 1_000, and the digits of every script
        raise ValueError
    return float(text)


def _place(name: str | int, row: int) -> str:
    return f'{PATH}[{row}]["{name}"]'
