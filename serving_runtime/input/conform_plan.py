"""The fast path from a request to the model's input, compiled from the signature."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.blocks import Blocks, Mixed
from serving_runtime.input.cells import CellError, convert, convert_numbers, doubles_of_rows
from serving_runtime.input.conform import Conformed
from serving_runtime.input.nested import DTYPES
from serving_runtime.input.params import conform_params
from serving_runtime.input.request import Request
from serving_runtime.input.table import Columns, Table
from serving_runtime.signature import Scalar, Signature

Values = np.ndarray[Any, np.dtype[Any]]
Conform = Callable[[Request], Conformed]

MANY_ROWS: Final = 16  # from which on whole rows are converted in less time than cells
NUMERIC: Final = {name: dtype for name, dtype in DTYPES.items() if dtype.kind in "bif"}


@frozen_record
class Matrix:
    """A table of numbers that becomes a frame late, because many tables together need one frame only.

    A frame costs more than all steps before it. `values` have a row for each column, as pandas keeps them, so that the
    frame needs no copy.
    """

    values: Values
    columns: "pd.Index[Any]"

    @property
    def rows(self) -> Values:
        """The rows as an array, for a model that goes by the columns' positions."""
        return self.values.T

    @property
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame(self.rows, columns=self.columns, copy=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """Named columns of one numeric type, which most models of tables have."""

    names: tuple[str, ...]
    optional: tuple[str, ...]
    columns: "pd.Index[Any]"
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, signature: Signature) -> "Uniform | None":
        kinds = {column.type.name if isinstance(column.type, Scalar) else "" for column in signature.columns}
        if len(kinds) != 1 or not signature.named or signature.typed_in_code or (kind := kinds.pop()) not in NUMERIC:
            return None
        optional = tuple(str(column.name) for column in signature.columns if not column.required)
        if optional and kind == "boolean":  # with a null it is a column of objects
            return None
        keys = [column.name for column in signature.columns]
        names = tuple(map(str, keys))
        if len(set(names)) < len(names):  # 1 and "1", which the general case tells apart
            return None
        return cls(names=names, optional=optional, columns=pd.Index(keys, tupleize_cols=False), dtype=NUMERIC[kind])

    def matrix(self, table: Table) -> Matrix | None:
        """Return the table as a Matrix; None if it is no such table: the general case then finds the faults."""
        if not table.named or table.index is not None or len(table.columns) != len(self.names):
            return None
        if isinstance(table.columns, Columns) and tuple(table.columns) == self.names:
            by_row = table.columns.by_row
            if isinstance(by_row, np.ndarray):
                return self._of_array(by_row)
            if not self.optional:
                return self._of_rows(by_row)
        try:
            cells = [table.columns[name] for name in self.names]
            if all(isinstance(column, np.ndarray) for column in cells):
                return Matrix(values=np.stack([convert(column, self.dtype) for column in cells]), columns=self.columns)
            flat = convert_numbers(list(chain.from_iterable(cells)), self.dtype)
        except (KeyError, CellError):
            return None
        return Matrix(values=flat.reshape(len(self.names), table.rows), columns=self.columns)

    def _of_array(self, rows: Any) -> Matrix | None:
        """Return the Matrix of an array of rows; None if a cell does not fit."""
        try:
            flat = convert(rows.ravel(), self.dtype)
        except CellError:
            return None
        return Matrix(values=np.ascontiguousarray(flat.reshape(rows.shape).T), columns=self.columns)

    def _of_rows(self, rows: Sequence[Sequence[Any]]) -> Matrix | None:
        """Return the Matrix of rows whose cells are in the signature's order; None if a cell does not fit."""
        if len(rows) >= MANY_ROWS and self.dtype.kind == "f" and set(map(type, rows[0])) == {float}:
            doubles = doubles_of_rows(rows, len(self.names))
            if doubles is not None:
                return self._of_doubles(doubles)
        try:
            flat = convert_numbers(list(chain.from_iterable(rows)), self.dtype)
        except CellError:
            return None
        return Matrix(values=np.ascontiguousarray(flat.reshape(len(rows), len(self.names)).T), columns=self.columns)

    def _of_doubles(self, doubles: Values) -> Matrix | None:
        """Return the Matrix of finite doubles with a row for each row; None if one is too large for the type."""
        with np.errstate(over="ignore"):
            values = doubles.T.astype(self.dtype, order="C")
        return None if np.isinf(values).any() else Matrix(values=values, columns=self.columns)


class ConformPlan:
    """Plan compiled once from the signature. What its fast path does not take, such as a fault, goes to `general`."""

    def __init__(self, signature: Signature, general: Conform) -> None:
        self._signature = signature
        self._general = general
        uniform, mixed = Uniform.of(signature), Mixed.of(signature)
        self._fast: Callable[[Table], Matrix | Blocks | None] | None = (
            uniform.matrix if uniform else mixed.blocks if mixed else None
        )

    def conform(self, request: Request) -> Conformed:
        """Return input that `merging.merged` takes. Raises InvalidInputError, MalformedRequestError."""
        if self._fast is None or not isinstance(request.input, Table):
            return self._general(request)
        data = self._fast(request.input)
        if data is None:
            return self._general(request)
        params = (
            conform_params(request.params, self._signature.params, request.params_path)
            if request.params is not None
            else None
        )
        return Conformed(data=data, params=params, rows=request.input.rows)
