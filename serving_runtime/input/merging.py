"""Merging of the inputs of several requests into the input of one call of the model, and copies of an input."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype, is_object_dtype

from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform_plan import Matrix


def merged(inputs: Sequence[Any]) -> Any:
    """Return inputs of an equal merge key as one input."""
    first = inputs[0]
    if len(inputs) == 1:
        return first
    if isinstance(first, Matrix):
        return Matrix(values=np.concatenate([matrix.values for matrix in inputs], axis=1), columns=first.columns)
    if isinstance(first, Blocks):
        return first.merged(inputs[1:])
    if isinstance(first, pd.DataFrame):
        return _with_own_cells(pd.concat(inputs, ignore_index=True))
    if isinstance(first, dict):
        return {name: np.concatenate([data[name] for data in inputs]) for name in first}
    return np.concatenate(inputs)


def copied(data: Any) -> Any:
    """Return the input in memory of its own."""
    match data:
        case pd.DataFrame():
            return _with_own_cells(data.copy())
        case np.ndarray():
            return data.copy()
        case dict():
            return {name: copied(item) for name, item in data.items()}
        case list():
            return [copied(item) for item in data]
        case _:
            return data


def _with_own_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Copy the lists and objects in the cells of a new frame, which a copy by pandas shares."""
    for position, kind in enumerate(frame.dtypes):
        # pandas calls them "mixed", and finds out in less time than it takes to copy texts.
        if is_object_dtype(kind) and infer_dtype(cells := frame.iloc[:, position]).startswith("mixed"):
            frame.isetitem(position, pd.Series(map(copied, cells), dtype=object).to_numpy())
    return frame


def merge_key(data: Any, params: Mapping[str, Any] | None) -> Hashable:
    """Return the key of an input: inputs of an equal key may be merged, one without a key is predicted alone.

    Rows with an index have names, which stay.
    """
    told = repr(sorted(params.items())) if params else ""
    match data:
        case Matrix() | Blocks():
            return told
        case pd.DataFrame() if isinstance(data.index, pd.RangeIndex):
            return told, tuple(data.columns), tuple(map(str, data.dtypes))
        case np.ndarray() if data.ndim:
            return told, data.shape[1:], data.dtype.str
        case dict() if data and all(isinstance(item, np.ndarray) and item.ndim for item in data.values()):
            return told, tuple((name, item.shape[1:], item.dtype.str) for name, item in data.items())
        case _:
            return None
