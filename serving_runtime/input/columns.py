"""A table becomes a DataFrame of the types that the signature's columns have."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import pandas as pd

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError
from serving_runtime.input.nested import nested, noted
from serving_runtime.input.table import Key, Table
from serving_runtime.signature import Column, Scalar, Signature

NUMBERS: Final = tuple(Scalar(name=name) for name in ("integer", "long", "float", "double"))

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A column of the signature, and the one of the table that is it."""

    column: Column
    key: Key
    cells: Sequence[Any]


def to_frame(table: Table, signature: Signature) -> pd.DataFrame:
    """Columns in the signature's order, without those that it does not know. Raises InvalidInputError."""
    faults: list[Fault] = []
    pairs = _by_name(table, signature.columns, faults) if signature.named else _by_position(table, signature.columns)
    filled: dict[Any, Any] = {}
    for pair in pairs:
        if len(faults) >= MOST_FAULTS:
            break
        if not _absent(pair):
            filled[pair.key if pair.column.name is None else pair.column.name] = _converted(pair, table, faults)
    if faults:
        raise InvalidInputError(faults)
    return pd.DataFrame(filled, index=range(table.rows) if table.index is None else list(table.index))


def widened(frame: pd.DataFrame, signature: Signature) -> pd.DataFrame:
    """A frame that came with types, in the signature's where nothing is lost; whether the rest fits is for MLflow's own check."""
    wider = frame.copy(deep=False)
    faults: list[Fault] = []
    for column in signature.columns:
        if _holds_numbers(frame, column) and isinstance(column.type, Scalar):
            values = frame[column.name].tolist()
            wider[column.name] = noted(values, column.type, partial("[{!r}][{}]".format, column.name), faults)
    if faults:
        raise InvalidInputError(faults)
    return wider


def _holds_numbers(frame: pd.DataFrame, column: Column) -> bool:
    return column.type in NUMBERS and column.name in frame and frame[column.name].dtype.kind in "iuf"


def plain_frame(table: Table) -> pd.DataFrame:
    """The types that pandas finds in the values: the model has no signature that says others."""
    return pd.DataFrame(dict(table.columns), index=range(table.rows) if table.index is None else list(table.index))


def _by_name(table: Table, columns: Sequence[Column], faults: list[Fault]) -> list[Pair]:
    keys = {str(key): key for key in table.columns} if table.named else {}
    missing = [str(column.name) for column in columns if column.required and str(column.name) not in keys]
    hint = "" if table.named else "; the columns of this request have no names"
    faults += [Fault(path=table.path, problem=f'the column "{name}" is missing, and the model requires it{hint}') for name in missing]
    if unknown := sorted(keys.keys() - {str(column.name) for column in columns}):
        _log.info("ignored columns that the model's signature does not have", extra={"fields": {"columns": unknown[:10]}})
    return [
        Pair(column=column, key=keys[str(column.name)], cells=table.columns[keys[str(column.name)]])
        for column in columns
        if str(column.name) in keys
    ]


def _by_position(table: Table, columns: Sequence[Column]) -> list[Pair]:
    if len(table.columns) != len(columns):
        problem = f"{len(table.columns)} columns, where the model takes {len(columns)}"
        raise InvalidInputError([Fault(path=table.path, problem=problem)])
    return [Pair(column=column, key=key, cells=cells) for column, (key, cells) in zip(columns, table.columns.items(), strict=True)]


def _absent(pair: Pair) -> bool:
    """An optional column of nulls only says the same as none, also in a type that has no null."""
    return not pair.column.required and len(pair.cells) > 0 and all(cell is None for cell in pair.cells)


def _converted(pair: Pair, table: Table, faults: list[Fault]) -> Any:
    kind, required, cells = pair.column.type, pair.column.required, pair.cells
    if not isinstance(kind, Scalar):
        found: list[Any] = []
        for row, cell in enumerate(cells):
            if len(faults) >= MOST_FAULTS:
                break
            found.append(nested(cell, kind, table.place(pair.key, row), faults, required=required))
        return found
    if kind.name == "boolean" and not required and isinstance(cells, list) and None in cells:
        noted([False if cell is None else cell for cell in cells], kind, partial(table.place, pair.key), faults)
        return list(cells)
    converted = noted(cells, kind, partial(table.place, pair.key), faults)
    # A list lets pandas choose its type for texts, which another version of pandas has another one for.
    return converted.tolist() if converted is not None and converted.dtype.kind == "O" else converted
