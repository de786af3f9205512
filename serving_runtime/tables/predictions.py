"""Predictions as columns of an Arrow table, without a Python object for each value."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

PREDICTION: Final = "prediction"
# By numpy's kinds. An unsigned number may be beyond Arrow's int64, so its rows are written one by one.
TYPES: Final = {"b": pa.bool_(), "i": pa.int64(), "f": pa.float64()}
LARGEST: Final = 8  # bytes of a number


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """A `table` with a row for each prediction. `form` of one prediction: `value`, `list` of values, or `object`."""

    table: pa.Table
    form: str

    def rows(self) -> list[Any]:
        """Return the JSON value of each prediction."""
        match self.form:
            case "value":
                values: list[Any] = self.table.column(0).to_pylist()
                return values
            case "list":
                return [list(row) for row in zip(*(column.to_pylist() for column in self.table.columns), strict=True)]
            case _:
                objects: list[Any] = self.table.to_pylist()
                return objects


def as_predictions(predicted: Any, rows: int, *, finite: bool = True) -> Predictions | None:
    """Return predictions as columns; None if they are not a number, a boolean, a list or a dict of them for each row.

    `finite`: NaN and infinity become null, as in JSON.
    """
    if isinstance(predicted, np.matrix):
        predicted = np.asarray(predicted)  # a column of a matrix would be a matrix again
    match predicted:
        case np.ndarray(ndim=1) if len(predicted) == rows and _fits(predicted.dtype):
            return Predictions(table=pa.table({PREDICTION: _column(predicted, finite)}), form="value")
        case np.ndarray(ndim=2) if len(predicted) == rows and predicted.shape[1] and _fits(predicted.dtype):
            columns = {
                f"{PREDICTION}_{place}": _column(predicted[:, place], finite) for place in range(predicted.shape[1])
            }
            return Predictions(table=pa.table(columns), form="list")
        case pd.DataFrame() if len(predicted) == rows and _is_plain(predicted):
            return Predictions(
                table=pa.table({name: _column(predicted[name].to_numpy(), finite) for name in predicted}), form="object"
            )
        case _:
            return None


def _is_plain(frame: pd.DataFrame) -> bool:
    return (
        frame.shape[1] > 0
        and all(isinstance(name, str) for name in frame.columns)
        and bool(frame.columns.is_unique)
        and all(isinstance(kind, np.dtype) and _fits(kind) for kind in frame.dtypes)
    )


def _fits(kind: "np.dtype[Any]") -> bool:
    """Return True for numbers and booleans that Arrow's types hold unchanged."""
    return kind.kind in TYPES and kind.itemsize <= LARGEST


def _column(values: "np.ndarray[Any, Any]", finite: bool) -> pa.Array:
    if values.dtype.kind == "f":
        numbers = values.astype(np.float64, copy=False)
        whole = not finite or bool(np.isfinite(numbers).all())
        return pa.array(numbers) if whole else pa.array(numbers, mask=~np.isfinite(numbers))
    return pa.array(values.astype(values.dtype.newbyteorder("="), copy=False)).cast(TYPES[values.dtype.kind])
