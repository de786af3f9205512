"""CSV and Parquet bodies."""

import csv
import io
from collections.abc import Iterator
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
PANDAS_TYPES = {"boolean": "bool", "integer": "int32", "long": "int64", "float": "float32", "double": "float64"}
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}


def read_csv(body: bytes, signature: Signature) -> Table | Frame:
    """A header and a line for each row; texts become what the signature says. Raises MalformedRequestError, InvalidInputError."""
    text = _text(body)
    if not signature.columns:
        return _guessed(text)
    header, *lines = _lines(text)
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
        columns={name: list(_values(column, kinds.get(name))) for name, column in zip(header, cells, strict=True)},
        rows=len(lines),
        path=PATH,
        place=_place,
    )


def read_csv_as_pandas(body: bytes, signature: Signature) -> Frame:
    """As MLflow's server has it read, but for times, which pandas reads by another way. Raises MalformedRequestError."""
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
        raise MalformedRequestError(f"the body is no CSV that pandas can read as the signature says ({type(error).__name__})") from None


def read_parquet(body: bytes) -> Frame:
    """Raises MalformedRequestError."""
    try:
        return Frame(frame=pd.read_parquet(io.BytesIO(body)))
    except ImportError:
        raise MalformedRequestError("this server cannot read Parquet: pyarrow is not installed in it; send CSV or JSON") from None
    except Exception as error:
        raise MalformedRequestError(f"the body is no Parquet file that pandas can read ({type(error).__name__})") from error


def _text(body: bytes) -> str:
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 (at byte {error.start})") from None


def _guessed(text: str) -> Frame:
    try:
        return Frame(frame=pd.read_csv(io.StringIO(text)))
    except (ValueError, pd.errors.ParserError) as error:
        raise MalformedRequestError(f"the body is no CSV that pandas can read ({type(error).__name__})") from error


def _lines(text: str) -> list[list[str]]:
    try:
        lines = [line for line in csv.reader(io.StringIO(text, newline=""), strict=True) if line]
    except csv.Error as error:
        raise MalformedRequestError(f"the body is no CSV: {error}") from None
    if not lines:
        raise MalformedRequestError("the CSV body is empty; its first line must name the columns")
    return lines


def _values(cells: Any, kind: Any) -> Iterator[Any]:
    """A text that is no value of its kind stays a text, which the checks refuse with its place."""
    for text in cells:
        try:
            yield None if text in NULLS else _value(text, kind.name if isinstance(kind, Scalar) else "")
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
            return int(text) if text.strip().removeprefix("-").isdecimal() else _number(text)
        case "float" | "double":
            return _number(text)
        case _:
            return text


def _number(text: str) -> float:
    if "_" in text:  # Python reads 1_000
        raise ValueError
    return float(text)


def _place(name: str | int, row: int) -> str:
    return f'{PATH}[{row}]["{name}"]'
