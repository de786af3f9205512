"""Rows and columns as a request gives them, before their conversion into the signature's types."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from functools import cached_property
from itertools import islice
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError
from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.cells import json_type_name
from serving_runtime.input.nested import member

Key = Any  # texts and, as pandas allows, numbers, null and tuples
PlaceOfCell = Callable[[Key, int], str]

LIST_OR_NONE: Final = (list, type(None))
SPLIT: Final = frozenset({"columns", "index", "data"})
# Each record may have other keys, and every key costs a cell in every row: a small body could fill the memory.
MOST_EMPTY_CELLS: Final = 10_000_000
FEW_EMPTY_CELLS: Final = 100_000
MOST_EMPTY_FOR_EACH: Final = 100  # empty cells for each cell that a record has
# Python gives longer whole numbers hashes that a client can make equal, and a set of them is slow.
LARGEST_NAME: Final = 2**63


class Columns(Mapping[Key, Any]):
    """Columns of the rows `by_row`, made when one is first read, because the fast path needs the rows only.

    Rows in an array of two dimensions have arrays as columns, others have lists.
    """

    def __init__(self, keys: Sequence[Key], by_row: Sequence[Sequence[Any]] | np.ndarray[Any, Any]) -> None:
        self.by_row = by_row
        self._keys = keys

    @cached_property
    def positions(self) -> Mapping[Key, int]:
        return {key: position for position, key in enumerate(self._keys)}

    @cached_property
    def _columns(self) -> Mapping[Key, Any]:
        if isinstance(self.by_row, np.ndarray):
            return dict(zip(self._keys, self.by_row.T, strict=True))
        return dict(
            zip(
                self._keys,
                map(list, zip(*self.by_row, strict=True)) if self.by_row else ([] for _ in self._keys),
                strict=True,
            )
        )

    def __getitem__(self, key: Key) -> Any:
        return self._columns[key]

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


@frozen_record
class Table:
    """A table of JSON values: `columns` have `rows` values each, and names, or positions only if not `named`.

    `path` is the table's place in the request, `place` returns that of a cell. `index` has the names of the rows.
    `document` is the JSON value of the table, and `orient` is pandas' name for the layout of that value.
    """

    columns: Mapping[Key, Sequence[Any]]
    rows: int
    path: str
    place: PlaceOfCell
    index: "pd.Index[Any] | None" = None
    named: bool = True
    document: Any = None
    orient: str = ""


def from_split(document: Any, path: str) -> Table:
    """Read `{"columns": [...], "index": [...], "data": [[...], ...]}`, as `DataFrame.to_dict("split")` writes it.

    Raises MalformedRequestError, InvalidInputError.
    """
    if not isinstance(document, dict) or "data" not in document or document.keys() - SPLIT:
        raise MalformedRequestError(f"{path} must be an object with the key data, and perhaps columns and index")
    data, names, index = document["data"], document.get("columns"), document.get("index")
    if not isinstance(data, list) or not isinstance(names, LIST_OR_NONE) or not isinstance(index, LIST_OR_NONE):
        raise MalformedRequestError(f"data, columns and index of {path} must be arrays")
    # One column may come without brackets around each row, as pandas reads it.
    rows = [[cell] for cell in data] if data and list not in map(type, data) else data
    width = len(names) if names is not None else len(rows[0]) if rows and isinstance(rows[0], list) else 0
    faults = _uneven(rows, width, f"{path}.data")
    if index is not None and len(index) != len(rows):
        faults.append(Fault(path=f"{path}.index", problem=f"{len(index)} entries for {len(rows)} rows"))
    if faults:
        raise InvalidInputError(faults)
    keys = _keys(names, f"{path}.columns") if names is not None else list(range(width))
    columns = Columns(keys, rows)
    return Table(
        columns=columns,
        rows=len(rows),
        path=path,
        place=lambda key, row: f"{path}.data[{row}][{columns.positions[key]}]",
        index=None if index is None else pandas_index(index, f"{path}.index"),
        named=names is not None,
        document=document,
        orient="split",
    )


def has_odd_names(document: Any) -> bool:
    """Return True if a name of the columns comes twice, or is the null or NaN of a column without a name.

    A model without a signature may take such columns, and only pandas' frames have them.
    """
    names = document.get("columns") if isinstance(document, dict) else None
    if not isinstance(names, list) or not set(map(type, names)) <= {str, int, float, type(None)}:
        return False
    if any(type(name) is int and abs(name) > LARGEST_NAME for name in names):
        return False
    return len(set(names)) < len(names) or any(name is None or name != name for name in names)  # noqa: PLR0124  NaN alone is unequal


def pandas_index(names: list[Any], path: str) -> "pd.Index[Any]":
    """Return the index that pandas makes of names, with NaN for None. Raises MalformedRequestError if it makes none."""
    try:
        index: pd.Index[Any] | None = pd.DataFrame(index=names).index
    except (ValueError, TypeError, RecursionError):  # texts with half of a surrogate pair, lists in lists
        index = None
    if index is None or len(index) != len(names):  # lists are the levels of an index
        raise MalformedRequestError(f"{path}: names that pandas cannot use; send numbers or texts")
    return index


def from_records(document: Any, path: str) -> Table:
    """Read a list of objects, one for each row, in which a missing key is null.

    Raises MalformedRequestError, InvalidInputError.
    """
    if not isinstance(document, list):
        raise MalformedRequestError(f"{path} must be an array of objects, one for each row")
    each = ((row, record) for row, record in enumerate(document) if not isinstance(record, dict))
    faults = [
        Fault(path=f"{path}[{row}]", problem=f"{json_type_name(record)}, where a row must be an object")
        for row, record in islice(each, MOST_FAULTS)
    ]
    if faults:
        raise InvalidInputError(faults)
    keys = list(dict.fromkeys(key for record in document for key in record))
    filled = sum(map(len, document))
    if len(keys) * len(document) - filled > min(MOST_EMPTY_CELLS, FEW_EMPTY_CELLS + MOST_EMPTY_FOR_EACH * filled):
        raise MalformedRequestError(f"the objects of {path} have too few keys in common")
    return Table(
        columns={key: [record.get(key) for record in document] for key in keys},
        rows=len(document),
        path=path,
        place=lambda key, row: member(f"{path}[{row}]", key),
        document=document,
        orient="records",
    )


def from_columns(columns: Mapping[Key, Sequence[Any]], path: str) -> Table:
    """Return the table of columns that are lists of cells. Raises InvalidInputError if their lengths differ."""
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInputError([Fault(path=path, problem=f"the columns must have the same number of values: {told}")])
    return Table(
        columns=columns,
        rows=next(iter(lengths.values()), 0),
        path=path,
        place=lambda key, row: f"{member(path, key)}[{row}]",
    )


def from_small_tables(documents: Sequence[Mapping[Key, Sequence[Any]]], path: str) -> Table:
    """Read a list of objects of columns, each with one row or more, as the rows of one table. Raises InvalidInputError.

    Raises MalformedRequestError if they have too few keys in common.
    """
    tables = [from_columns(columns, f"{path}[{number}]") for number, columns in enumerate(documents)]
    origins = [(table, row) for table in tables for row in range(table.rows)]
    records = [{key: cells[row] for key, cells in table.columns.items()} for table, row in origins]
    return replace(from_records(records, path), place=lambda key, row: origins[row][0].place(key, origins[row][1]))


def from_frame(frame: pd.DataFrame) -> Table:
    """Return the table of a DataFrame that came with its types, with the values that a request would have brought."""
    return Table(
        columns={name: json_values(frame[name]) for name in frame.columns},
        rows=len(frame),
        path="frame",
        place=place_in_frame,
        index=None if isinstance(frame.index, pd.RangeIndex) else frame.index,
        named=True,
    )


def place_in_frame(key: Key, row: int) -> str:
    return f"{member('frame', key)}[{row}]"


def json_values(column: "pd.Series[Any]") -> Any:
    """Return numbers and booleans of numpy as an array, and other cells as JSON has them, None for a missing one."""
    if isinstance(column.dtype, np.dtype) and column.dtype.kind in "biuf":
        return column.to_numpy()
    cells = zip(column.tolist(), column.isna(), strict=True)
    return [None if missing else cell.isoformat() if isinstance(cell, date) else cell for cell, missing in cells]


def one_row(row: Mapping[Key, Any], path: str) -> Table:
    return Table(
        columns={key: [value] for key, value in row.items()}, rows=1, path=path, place=lambda key, _: member(path, key)
    )


def from_rows(rows: Sequence[Any], path: str, width: int) -> Table:
    """Read rows without names: lists of `width` values, or single values if there is one column.

    Raises InvalidInputError.
    """
    bare = width == 1 and not all(isinstance(row, list) for row in rows)
    lists = [[row] for row in rows] if bare else rows
    if faults := _uneven(lists, width, path):
        raise InvalidInputError(faults)
    return Table(
        columns=Columns(range(width), lists),
        rows=len(lists),
        path=path,
        place=lambda key, row: f"{path}[{row}]" if bare else f"{path}[{row}][{key}]",
        named=False,
    )


def renamed(table: Table, names: Sequence[Key]) -> Table:
    """Return a table of positions with names for its columns."""
    positions: dict[Key, int] = {name: position for position, name in enumerate(names)}
    columns = {name: table.columns[position] for name, position in positions.items()}
    return replace(table, columns=columns, place=lambda key, row: table.place(positions[key], row), named=True)


def delimiter_advice(header: Sequence[str]) -> str:
    """Return advice for a CSV whose header is one field with another delimiter in it; "" for any other header."""
    if len(header) != 1 or not any(delimiter in header[0] for delimiter in ";\t|"):
        return ""
    decimals = ", and its numbers have a decimal point" if ";" in header[0] else ""
    return f"; the fields of a CSV must be separated by commas{decimals}"


def _uneven(rows: Sequence[Any], width: int, path: str) -> list[Fault]:
    """Return the fault of each row that is no array of `width` values."""
    if set(map(type, rows)) <= {list} and set(map(len, rows)) <= {width}:
        return []
    each = (number for number, row in enumerate(rows) if not isinstance(row, list) or len(row) != width)
    wrong = islice(each, MOST_FAULTS)
    return [Fault(path=f"{path}[{number}]", problem=_width(rows[number], width)) for number in wrong]


def _width(row: Any, width: int) -> str:
    return (
        f"{len(row)} values, where there are {width} columns"
        if isinstance(row, list)
        else f"{json_type_name(row)}, where a row must be an array"
    )


def _keys(names: list[Any], path: str) -> list[Key]:
    if set(map(type, names)) <= {str} and len(set(names)) == len(names):
        return names
    seen: set[Key] = set()
    keys = [_hashable(name) for name in names]
    for index, name in enumerate(keys):
        if (
            type(name) not in {str, int, float, tuple}
            or (type(name) is int and abs(name) > LARGEST_NAME)
            or _has_object(name)
        ):
            problem = f"{json_type_name(names[index])}, where a name must be a string or a number"
            raise InvalidInputError([Fault(path=f"{path}[{index}]", problem=problem)])
        if name in seen:
            raise InvalidInputError([Fault(path=f"{path}[{index}]", problem="a name that comes twice")])
        seen.add(name)
    return keys


def _has_object(name: Any) -> bool:
    """Return True if an object of JSON is among the levels of a name."""
    return isinstance(name, dict) or (isinstance(name, tuple) and any(map(_has_object, name)))


def _hashable(name: Any) -> Any:
    """Return a tuple for an array: the name of a column of several levels, for which JSON has arrays only."""
    return tuple(map(_hashable, name)) if isinstance(name, list) else name
