"""The fast path for tables whose columns have several types: one array for all columns of a scalar type.

A model of thousands of columns would wait for thousands of conversions of single cells otherwise.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.cells import CellError, Values, convert, convert_base64, convert_numbers
from serving_runtime.input.columns import texts
from serving_runtime.input.nested import DTYPES
from serving_runtime.input.nested_columns import NestedColumn, is_plain
from serving_runtime.input.table import Table
from serving_runtime.input.text_columns import TextCells, TextColumns
from serving_runtime.signature import Anything, Scalar, Signature

TEXT: Final = "string"
BINARY: Final = "binary"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """The columns of one type, in the signature's order."""

    kind: str
    names: tuple[str, ...]

    def values(self, table: Table) -> Values | TextColumns:
        """Return the cells with a row for each column. Raises CellError, KeyError."""
        cells = [table.columns[name] for name in self.names]
        texts_of_pandas = [column.array for column in cells if isinstance(column, TextCells)]
        if len(texts_of_pandas) == len(cells):
            return TextColumns(texts_of_pandas)
        if self.kind in DTYPES and all(isinstance(column, np.ndarray) for column in cells):
            return np.stack([convert(column, DTYPES[self.kind]) for column in cells])
        flat = list(chain.from_iterable(cells))
        converted = convert_base64(flat) if self.kind == BINARY else convert_numbers(flat, DTYPES[self.kind])
        return converted.reshape(len(self.names), table.rows)

    def frame(self, values: Any, rows: int) -> pd.DataFrame:
        if self.kind != TEXT:
            return pd.DataFrame(values.T, columns=list(self.names), copy=True)
        arrays = values if isinstance(values, TextColumns) else _text_columns(values, rows)
        columns = dict(zip(self.names, arrays, strict=True))
        return pd.DataFrame(columns, index=range(rows), copy=False)


@frozen_record
class Blocks:
    """A table that becomes a frame late, as a Matrix does.

    `values` has for each group an array, of a row a column, or the TextColumns.
    """

    values: Sequence[Any]
    mixed: "Mixed"
    rows: int

    @property
    def frame(self) -> pd.DataFrame:
        parts = [group.frame(values, self.rows) for group, values in zip(self.mixed.groups, self.values, strict=True)]
        return pd.concat(parts, axis=1)[self.mixed.names]

    def merged(self, others: Sequence["Blocks"]) -> "Blocks":
        """Return the rows of this table, then those of the others."""
        together = zip(self.values, *(other.values for other in others), strict=True)
        return Blocks(
            values=[np.concatenate(values, axis=1) for values in together],
            mixed=self.mixed,
            rows=self.rows + sum(other.rows for other in others),
        )

    def changed(self, change: Callable[[Values], Values]) -> "Blocks":
        """Return the table with `change` applied to the values of each type."""
        return Blocks(values=[change(values) for values in self.values], mixed=self.mixed, rows=self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixed:
    """Named columns; the names are texts."""

    names: list[str]
    groups: tuple[Group | NestedColumn, ...]

    @classmethod
    def of(cls, signature: Signature) -> "Mixed | None":
        columns = signature.columns
        names = [column.name for column in columns]
        if signature.typed_in_code or not columns or set(map(type, names)) != {str} or len(set(names)) < len(names):
            return None
        by_kind: dict[str, list[str]] = {}
        nested: list[NestedColumn] = []
        for column in columns:
            if isinstance(column.type, Scalar):
                by_kind.setdefault(column.type.name, []).append(column.name)
            elif not isinstance(column.type, Anything) and is_plain(column.type):
                nested.append(NestedColumn(name=column.name, kind=column.type))
            else:
                return None
        groups = (Group(kind=kind, names=tuple(found)) for kind, found in by_kind.items())
        return cls(names=names, groups=(*groups, *nested))

    def blocks(self, table: Table) -> Blocks | None:
        """Return the table as blocks; None if it is no such table: the general case then finds the faults."""
        if not table.named or table.index is not None or len(table.columns) != len(self.names):
            return None
        try:
            return Blocks(values=[group.values(table) for group in self.groups], mixed=self, rows=table.rows)
        except (KeyError, CellError):
            return None


def _text_columns(values: Values, rows: int) -> list[Any]:
    """Return texts as pandas has them, made at once for all columns."""
    whole = texts(values.ravel().tolist())
    if isinstance(whole, pd.Series):  # one of them is no Unicode, and only its own column is of objects
        return [texts(column.tolist()) for column in values]
    return (
        [whole[start : start + rows] for start in range(0, len(values) * rows, rows)] if rows else [whole] * len(values)
    )
