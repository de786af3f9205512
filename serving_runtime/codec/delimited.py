"""CSV and Parquet bodies."""

import csv
import io
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pandas as pd

from serving_runtime.errors import Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.forms import Frame
from serving_runtime.input.table import Table
from serving_runtime.signature import Scalar, Signature

PATH = "csv"
# The words that pandas reads as no value where it reads a CSV file by default.
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
WITH_WORDS = frozenset(("boolean", "integer", "long", "float", "double", "datetime"))
EXACT, LARGE = 2.0**53, 2.0**70
BLANK = "\ue000"  # of the letters that Unicode gives no meaning
# A cell in quotes, from its beginning: tried in the middle of one, the pattern would look at the rest of a body again
# and again.
QUOTED = re.compile(r'(?<![^,\r\n])"(?:[^"]|"")*+"(?![^,\r\n])')
PANDAS_TYPES = {"boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def read_csv(body: bytes, signature: Signature) -> Table | Frame:
    """A header and a line for each row; texts become what the signature says. Raises MalformedRequestError,
    InvalidInputError.
    """
    text = _text(body)
    if not signature.columns:
        return _guessed(text)
    text, blank = _with_blanks(text)
    header, *lines = _lines(text)
    header = [name if name != blank else "" for name in header]
    if len(set(header)) < len(header):
        raise MalformedRequestError("the header of the CSV body has a name that comes twice")
    faults = [
        Fault(path=f"{PATH}[{row}]", problem=f"{len(line)} values, where the header has {len(header)}")
        for row, line in enumerate(lines)
        if len(line) != len(header)
    ]
    if faults:
        raise InvalidInputError(faults)
    kinds = {str(column.name): column.type for column in signature.columns}
    if not signature.named:
        kinds = dict(zip(header, (column.type for column in signature.columns), strict=False))
    cells = zip(*lines, strict=True) if lines else ([] for _ in header)
    return Table(
        columns={
            name: list(_values(column, kinds.get(name), blank)) for name, column in zip(header, cells, strict=True)
        },
        rows=len(lines),
        path=PATH,
        place=_place,
    )


def read_csv_as_pandas(body: bytes, signature: Signature) -> Frame:
    """As MLflow's server has it read, but for times, which pandas reads by another way. Raises
    MalformedRequestError.
    """
    if not signature.named:
        return _guessed(_text(body))
    kinds = {str(column.name): column.type.name for column in signature.columns if isinstance(column.type, Scalar)}
    types = {name: PANDAS_TYPES.get(kind, "object") for name, kind in kinds.items() if kind != "datetime"}
    try:
        frame = pd.read_csv(io.StringIO(_text(body)), dtype=types)
        for name in frame.columns.intersection([name for name, kind in kinds.items() if kind == "datetime"]):
            frame[name] = pd.to_datetime(frame[name]).dt.as_unit("ns")
        return Frame(frame=frame)
    except (ValueError, TypeError, AttributeError, pd.errors.ParserError) as error:
        raise MalformedRequestError(
            f"the body is no CSV that pandas can read as the signature says ({type(error).__name__})"
        ) from None


def read_parquet(body: bytes) -> Frame:
    """Raises MalformedRequestError."""
    try:
        return Frame(frame=pd.read_parquet(io.BytesIO(body)))
    except ImportError:
        raise MalformedRequestError(
            "this server cannot read Parquet: pyarrow, of the extra tables, is not installed in it; send CSV or JSON"
        ) from None
    except Exception as error:
        raise MalformedRequestError(
            f"the body is no Parquet file that pandas can read ({type(error).__name__})"
        ) from error


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 (at byte {error.start})") from None


def _guessed(text: str) -> Frame:
    try:
        header = next(csv.reader(io.StringIO(text, newline="")), [])
        if len(set(header)) < len(header):
            raise MalformedRequestError("the header of the CSV body has a name that comes twice")
        return Frame(frame=pd.read_csv(io.StringIO(text)))
    except (ValueError, csv.Error, pd.errors.ParserError) as error:
        raise MalformedRequestError(f"the body is no CSV that pandas can read ({type(error).__name__})") from error


def _lines(text: str) -> list[list[str]]:
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise MalformedRequestError(f"the body is no CSV: {error}") from None
    full = [line for line in lines if line]
    if not full:
        raise MalformedRequestError("the CSV body is empty; its first line must name the columns")
    last = max(number for number, line in enumerate(lines) if line)
    if len(full[0]) == 1 and len(full) <= last:
        raise MalformedRequestError(
            'the CSV body has an empty line between its lines; a row of one empty cell is written as ""'
        )
    return full


def _with_blanks(text: str) -> tuple[str, str | None]:
    """The text with a word for each empty text in quotes, and the word: the reader of lines does not tell it from an
    empty cell.
    """
    if '""' not in text:
        return text, None
    word = BLANK
    while word in text:
        word += BLANK
    return QUOTED.sub(lambda cell: word if cell[0] == '""' else cell[0], text), word


def _values(cells: Any, kind: Any, blank: str | None) -> Iterator[Any]:
    """A text that is no value of its kind stays a text, which the checks refuse with its place. Words for null are
    texts in a column of texts, and `null` and `None` are bytes in base64.
    """
    name = kind.name if isinstance(kind, Scalar) else ""
    nulls = NULLS if name in WITH_WORDS else EMPTY
    for cell in cells:
        text = "" if cell == blank and name in WITH_WORDS else cell
        try:
            if text == blank and blank is not None:
                yield ""
            else:
                yield None if text in nulls else _value(text, name)
        except ValueError:
            yield text


def _value(text: str, kind: str) -> Any:
    """The value as JSON would have it, for the checks that JSON goes through as well."""
    match kind:
        case "boolean" if text in BOOLEANS:
            return BOOLEANS[text]
        case "boolean":
            raise ValueError
        case "integer" | "long":
            return _whole(text)
        case "float" | "double":
            return int(text) if text.isascii() and text.strip().removeprefix("-").isdecimal() else _number(text)
        case _:
            return text


def _whole(text: str) -> int | float:
    """Also one that is written with a fraction or an exponent, which a double might round."""
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
