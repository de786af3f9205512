"""Conversion of a table into a DataFrame with the types of the signature's columns."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import pandas as pd

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.cells import null_for_nan
from serving_runtime.input.nested import nested, scalars_or_faults
from serving_runtime.input.table import (
    Key,
    Table,
    delimiter_advice,
    from_split,
    json_values,
    pandas_index,
    place_in_frame,
)
from serving_runtime.input.text_columns import TEXTS, TextCells
from serving_runtime.signature import FLOATS, WHOLE_NUMBERS, Anything, Column, Scalar, Signature

CSV: Final = "csv"  # the path of a table that was read from CSV
NUMBERS: Final = WHOLE_NUMBERS + FLOATS

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A column of the signature with its values in the table."""

    column: Column
    key: Key
    cells: Sequence[Any]


def to_frame(table: Table, signature: Signature) -> pd.DataFrame:
    """Return the signature's columns in its order, and no others. Raises InvalidInputError."""
    faults: list[Fault] = []
    by_position = not signature.named or (not table.named and _numbered(signature.columns))
    pairs = _by_position(table, signature.columns) if by_position else _by_name(table, signature.columns, faults)
    filled: dict[Any, Any] = {}
    for pair in map(_with_nulls, pairs):
        if len(faults) >= MOST_FAULTS:
            break
        if not _absent(pair):
            filled[pair.key if pair.column.name is None else pair.column.name] = _converted(pair, table, faults)
    if faults:
        raise InvalidInputError(faults)
    frame = pd.DataFrame(filled, index=range(table.rows))
    if table.index is None:
        return frame
    return frame.set_axis(table.index)


def widened(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """Return a frame that came with types, its numbers in the signature's types. Raises InvalidInputError.

    MLflow's own check decides about the other columns.
    """
    wider = frame.copy(deep=False)
    faults: list[Fault] = []
    for column in signature.columns:
        if _holds_numbers(frame, column) and isinstance(column.type, Scalar):
            place = partial(place_in_frame, column.name)
            wider[column.name] = scalars_or_faults(json_values(frame[column.name]), column.type, place, faults)
    if faults:
        raise InvalidInputError(faults)
    return wider


def _holds_numbers(frame: pd.DataFrame, column: Column) -> bool:
    return column.type in NUMBERS and column.name in frame and frame[column.name].dtype.kind in "iuf"


def plain_frame(table: Table) -> pd.DataFrame:
    """Return a DataFrame with the types that pandas finds in the values, for a model without a signature.

    Raises MalformedRequestError if pandas cannot use the name of a column.
    """
    try:
        return pd.DataFrame(dict(table.columns), index=range(table.rows) if table.index is None else table.index)
    except UnicodeEncodeError:
        return _frame_of_odd_texts(table)


def _frame_of_odd_texts(table: Table) -> pd.DataFrame:
    try:
        frame = pd.DataFrame({key: inferred(list(cells)) for key, cells in table.columns.items()})
    except UnicodeEncodeError:
        raise MalformedRequestError(f"{table.path}: a name of a column has half of a surrogate pair") from None
    return frame if table.index is None else frame.set_axis(table.index)


def frame_of_split(document: dict[str, Any], path: str) -> pd.DataFrame:
    """Read what `from_split` reads, whatever the names are. Raises MalformedRequestError, InvalidInputError."""
    table = from_split({**document, "columns": list(range(len(document["columns"])))}, path)
    frame = plain_frame(table)
    names = document["columns"]
    frame.columns = pd.Index(names, dtype=object) if None in names else pandas_index(names, f"{path}.columns")
    return frame


def _by_name(table: Table, columns: Sequence[Column], faults: list[Fault]) -> list[Pair]:
    keys = {str(key): key for key in table.columns} if table.named else {}
    by_key = set(table.columns) if table.named else set()
    missing = [str(column.name) for column in columns if column.required and str(column.name) not in keys]
    if missing:
        hint = _delimiter_hint(table, columns) if table.named else "; the columns of this request have no names"
        faults += [
            Fault(path=table.path, problem=f'the column "{name}" is missing, and the model requires it{hint}')
            for name in missing
        ]
    if unknown := sorted(keys.keys() - {str(column.name) for column in columns}):
        _log.info(
            "ignored columns that the model's signature does not have", extra={"fields": {"columns": unknown[:10]}}
        )
    # 1 and "1" may both be names; a request in which all names are texts can mean only one of them.
    found = [(column, column.name if column.name in by_key else keys.get(str(column.name))) for column in columns]
    return [Pair(column=column, key=key, cells=table.columns[key]) for column, key in found if key is not None]


def _delimiter_hint(table: Table, columns: Sequence[Column]) -> str:
    """Return advice for a CSV whose header is one field with another delimiter in it; "" for any other table."""
    if table.path != CSV or len(table.columns) != 1 or len(columns) == 1:
        return ""
    return delimiter_advice([str(name) for name in table.columns])


def _numbered(columns: Sequence[Column]) -> bool:
    """Return True if the names are those that pandas gives to columns without names."""
    return [column.name for column in columns] == list(range(len(columns)))


def _by_position(table: Table, columns: Sequence[Column]) -> list[Pair]:
    if len(table.columns) != len(columns):
        problem = f"{len(table.columns)} columns, where the model takes {len(columns)}{_delimiter_hint(table, columns)}"
        raise InvalidInputError([Fault(path=table.path, problem=problem)])
    return [
        Pair(column=column, key=key, cells=cells)
        for column, (key, cells) in zip(columns, table.columns.items(), strict=True)
    ]


def _with_nulls(pair: Pair) -> Pair:
    """Return the column with null for NaN, unless NaN is a value of its type."""
    keeps_nan = pair.column.type in FLOATS or isinstance(pair.column.type, Anything)
    return pair if keeps_nan else replace(pair, cells=null_for_nan(pair.cells))


def _absent(pair: Pair) -> bool:
    """Return True for an optional column of whole numbers that holds nulls only: it can only be left out."""
    return (
        not pair.column.required
        and pair.column.type in WHOLE_NUMBERS
        and len(pair.cells) > 0
        and all(cell is None for cell in pair.cells)
    )


def _converted(pair: Pair, table: Table, faults: list[Fault]) -> Any:
    kind, required, cells = pair.column.type, pair.column.required, pair.cells
    if not isinstance(kind, Scalar):
        found: list[Any] = []
        for row, cell in enumerate(cells):
            if len(faults) >= MOST_FAULTS:
                break
            found.append(nested(cell, kind, table.place(pair.key, row), faults, required=required))
        return inferred(found) if isinstance(kind, Anything) else found
    if kind.name == "boolean" and not required and isinstance(cells, list) and None in cells:
        scalars_or_faults(
            [False if cell is None else cell for cell in cells], kind, partial(table.place, pair.key), faults
        )
        return list(cells)
    if isinstance(cells, TextCells):
        return cells.array
    converted = scalars_or_faults(cells, kind, partial(table.place, pair.key), faults)
    if converted is None or converted.dtype.kind != "O":
        return converted
    return texts(converted.tolist()) if kind.name == "string" else converted


def inferred(cells: list[Any]) -> Any:
    """Return values of any type, of which pandas finds the type; a series of objects if a text is no Unicode."""
    try:
        return pd.Series(cells)
    except UnicodeError:
        return pd.Series(cells, dtype=object)


def texts(cells: list[Any]) -> Any:
    """Return texts as pandas has them; a series of objects if one of them is no Unicode."""
    try:
        return pd.array(cells, dtype=TEXTS)
    except UnicodeError:  # half of a surrogate pair; pandas would look for texts in anything but a series
        return pd.Series(cells, dtype=object)
