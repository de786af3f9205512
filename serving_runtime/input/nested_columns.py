"""The fast path for columns of arrays, objects and maps: all values of a type at once.

The result is what MLflow's own check makes of such cells, which takes a tenth of a millisecond for each value.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.input.cells import CellError, Values, convert_numbers
from serving_runtime.input.nested import DTYPES
from serving_runtime.input.table import Table
from serving_runtime.signature import Array, Map, Object, Scalar, Type

# A null, bytes and times within a cell are left to `nested.py`.
KINDS: Final = frozenset({"boolean", "integer", "long", "float", "double", "string"})
OTHER: Final = CellError(0, "a value", "another one")  # `nested.py` says which


@dataclass(frozen=True, slots=True, kw_only=True)
class NestedColumn:
    """A column of one nested type."""

    name: str
    kind: Array | Object | Map

    @property
    def names(self) -> tuple[str, ...]:
        return (self.name,)

    def values(self, table: Table) -> Values:
        """Return the cells in one row. Raises CellError, KeyError."""
        if not table.rows:
            raise OTHER
        cells = np.empty((1, table.rows), dtype=object)
        cells[0, :] = _nested(table.columns[self.name], self.kind)
        return cells

    def frame(self, values: Values, rows: int) -> pd.DataFrame:
        return pd.DataFrame({self.name: pd.Series(list(values[0]), dtype=object)}, index=range(rows))


def is_plain(kind: Type) -> bool:
    """Return True for a type whose values the fast path converts."""
    match kind:
        case Scalar():
            return kind.name in KINDS
        case Array(items=items):
            return is_plain(items)
        case Map(values=values):
            return is_plain(values)
        case Object():
            return bool(kind.properties) and all(is_plain(one.type) for one in kind.properties.values())
        case _:
            return False


def _nested(cells: Sequence[Any], kind: Type) -> list[Any]:
    """Return the converted cells. Raises CellError if one is null, lacks a property, or does not fit."""
    match kind:
        case Array(items=items):
            _expect(cells, list)
            flat = list(chain.from_iterable(cells))
            values = _flat(flat, items).tolist() if isinstance(items, Scalar) else _nested(flat, items)
            return _in_lists(values, map(len, cells))
        case Map(values=items):
            _expect(cells, dict)
            keys = list(chain.from_iterable(cells))
            _expect(keys, str)
            values = _nested(list(chain.from_iterable(cell.values() for cell in cells)), items)
            return list(map(dict, _in_lists(list(zip(keys, values, strict=True)), map(len, cells))))
        case Object(properties=properties):
            _expect(cells, dict)
            if any(cell.keys() != properties.keys() for cell in cells):
                raise OTHER
            columns = [_nested([cell[name] for cell in cells], one.type) for name, one in properties.items()]
            rows = [dict(zip(properties, row, strict=True)) for row in zip(*columns, strict=True)]
            return _in_order_of(cells, rows, list(properties))
        case Scalar():
            return list(_flat(cells, kind))
        case _:
            raise OTHER


def _in_order_of(cells: Sequence[Any], rows: list[Any], names: list[str]) -> list[Any]:
    """Return the objects with their members in the order in which they came: a model may write them into a prompt."""
    if all(list(cell) == names for cell in cells):
        return rows
    return [{name: row[name] for name in cell} for cell, row in zip(cells, rows, strict=True)]


def _flat(values: Sequence[Any], kind: Scalar) -> Values:
    if type(None) in set(map(type, values)):
        raise OTHER
    return convert_numbers(values, DTYPES[kind.name])


def _expect(cells: Sequence[Any], kind: type) -> None:
    if not set(map(type, cells)) <= {kind}:
        raise OTHER


def _in_lists(values: list[Any], lengths: Iterable[int]) -> list[list[Any]]:
    """Return the values in lists of the lengths."""
    ends = np.cumsum([0, *lengths]).tolist()
    return [values[start:end] for start, end in pairwise(ends)]
