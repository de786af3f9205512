"""Conversion of the objects that models return into types of numpy, pandas and Python, which every protocol writes."""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from datetime import date, time
from enum import Enum
from itertools import chain
from math import isfinite, prod
from typing import Any, Final
from uuid import UUID

import numpy as np
import pandas as pd
from pandas.api.extensions import ExtensionArray

from serving_runtime.errors import OutputError

Values = np.ndarray[Any, np.dtype[Any]]

# A sparse matrix of a few bytes may have any number of cells.
MOST_CELLS: Final = 10_000_000
EXACT: Final = 2**53  # whole numbers up to here are the same as doubles
NAMES_OF_FLOATS: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}
LONE_SURROGATE: Final = "a text that is no Unicode: it has half of a surrogate pair"
WIDER: Final = ("int8", "float32")  # each holds some types of ml_dtypes unchanged
MOST_DIMENSIONS: Final = 32  # of an array of numpy 1; a list may contain itself
INT64: Final = (-(2**63), 2**63 - 1)
UINT64: Final = (0, 2**64 - 1)


def refused(kind: str) -> OutputError:
    """Return the error for a value that no protocol can write. `kind` names its type, and never holds the value."""
    return OutputError(
        f"the model returned {kind}, and no answer can hold that; let it return numbers, texts, lists, dicts, arrays or"
        " DataFrames"
    )


def type_in_words(value: Any) -> str:
    if hasattr(value, "__next__"):
        return "a generator"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a value of type {type(value).__name__}"


def as_known_type(value: Any) -> Any:  # noqa: C901  one case for each library
    """Return a container of another library as an array, a DataFrame, a Series or a list, and any other value as it is.

    Raises OutputError.
    """
    match value:
        case np.ndarray():
            return _plain_array(value)
        case dict() if hasattr(value, "tocsr"):  # scipy's matrix of keys
            return _dense(value)
        case pd.DataFrame() | pd.Series() | list() | tuple() | dict() | str() | bytes() | int() | float() | None:
            return value
        case pd.MultiIndex():
            return value.tolist()
        case pd.Index() | ExtensionArray():
            return column_array(pd.Series(value))
        case set() | frozenset():
            return list(value)
        case _ if isinstance(value, type):
            return value
        case _ if hasattr(value, "tocsr") and hasattr(value, "toarray"):
            return _dense(value)
        case _ if hasattr(value, "to_pylist"):
            return _from_arrow(value)
        case _ if hasattr(value, "to_dict") and hasattr(value, "to_dicts"):
            return pd.DataFrame(value.to_dict(as_series=False), dtype=object)  # polars
        case _ if hasattr(value, "__array__") and not isinstance(value, np.generic):
            return _through_array(value)
        case _:
            return value


def column_names(frame: pd.DataFrame) -> list[str]:
    """Return the names of the columns in JSON. Raises OutputError if two are the same, or one cannot be a text."""
    if isinstance(frame.columns, pd.MultiIndex):
        raise refused(f"a DataFrame whose columns have {frame.columns.nlevels} levels")
    names = [key_text(name, "a DataFrame with a column name") for name in frame.columns]
    if len(set(names)) < len(names):
        raise refused("a DataFrame with two columns of the same name")
    return names


def key_text(key: Any, place: str = "a dict with a key") -> str:
    """Return a key as the name of a member in JSON. Raises OutputError if its type cannot be written as text."""
    match key:
        case Enum():
            return key_text(key.value, place)
        case str():
            return key
        case None:
            return "null"
        case bool() | np.bool_():
            return "true" if key else "false"
        case int():
            return str(int(key))
        case float():
            return repr(float(key)) if isfinite(key) else NAMES_OF_FLOATS[str(float(key))]
        case date() | time():
            return "null" if key is pd.NaT else key.isoformat()
        case UUID() | pd.Period() | pd.Interval():
            return str(key)
        case np.generic() if not isinstance(key.item(), np.generic):
            return key_text(pd.Timestamp(key) if isinstance(key, np.datetime64) else key.item(), place)
        case _:
            raise refused(f"{place} of type {type(key).__name__}")


def column_array(column: "pd.Series[Any]") -> Values:
    """Return the cells of a column, in more dimensions if each cell is an array of the same shape."""
    kind = getattr(column.dtype, "kind", "O")
    if isinstance(column.dtype, np.dtype) and kind in "biufmM":
        return column.to_numpy()
    if kind == "f" and column.isna().any():
        return column.to_numpy(dtype="float64", na_value=float("nan"))
    if kind in "biuf" and not column.isna().any():
        return column.to_numpy()
    missing = column.isna() if kind in "biu" else None
    return as_array(column.tolist() if missing is None else column.astype(object).where(~missing, None).tolist())


def as_array(values: Sequence[Any]) -> Values:
    """Return numbers of one type in the shape of the nested lists, anything else as objects in one dimension.

    No value changes.
    """
    shape, leaves = _leaves(values)
    if isinstance(leaves, np.ndarray):
        return leaves
    kinds = set(map(type, leaves))
    if len(kinds) > 1 and any(issubclass(kind, np.number | np.bool_) for kind in kinds):
        leaves = [leaf.item() if isinstance(leaf, np.number | np.bool_) else leaf for leaf in leaves]
        kinds = set(map(type, leaves))
    dtype = _common_dtype(leaves, kinds)
    if dtype is None:
        return objects(values)
    if type(None) in kinds:
        leaves = [float("nan") if leaf is None else leaf for leaf in leaves]
    return np.array(leaves, dtype=dtype).reshape(shape)


def objects(values: Sequence[Any]) -> Values:
    """Return an array of one dimension, also for lists of one length, of which numpy would make more dimensions."""
    array = np.empty(len(values), dtype=object)
    for index, value in enumerate(values):
        array[index] = value
    return array


def members(value: Any) -> dict[str, Any]:
    """Return the fields of a dataclass by name."""
    return {field.name: getattr(value, field.name) for field in fields(value)}


def is_record(value: Any) -> bool:
    return is_dataclass(value) and not isinstance(value, type)


def record_rows(array: Values) -> list[tuple[Any, ...]]:
    """Return the rows of a structured array, whose fields have names, with None for a masked field.

    Times stay times, of which numpy's own `tolist` would make numbers.
    """
    columns = []
    for name in array.dtype.names or ():
        column = array[name]
        if column.dtype.names is not None:
            columns.append(record_rows(column))
        else:
            columns.append(list(column) if column.dtype.kind in "mMgG" or column.ndim > 1 else column.tolist())
    return list(zip(*columns, strict=True)) if columns else [()] * len(array)


def _plain_array(array: Values) -> Any:
    if array.dtype.names is not None:
        return objects(record_rows(array.ravel())).reshape(array.shape)
    if isinstance(array, np.ma.MaskedArray):
        return _unmasked(array)
    plain = array if type(array) is np.ndarray else np.asarray(array)
    if plain.dtype.kind == "V" and plain.dtype.type is not np.void:  # bfloat16 and others of ml_dtypes
        plain = next((plain.astype(wider) for wider in WIDER if np.can_cast(plain.dtype, wider)), plain)
    if plain.dtype.kind == "c":
        raise refused("complex numbers")
    if plain.dtype.kind == "f" and plain.dtype.itemsize > 8:  # noqa: PLR2004  bytes of a double
        raise refused(f"numbers of the type {plain.dtype}, which has more digits than a double")
    return plain


def _unmasked(array: "np.ma.MaskedArray[Any, Any]") -> Values:
    """Return the array without its mask: a masked value becomes NaN in floats, None in other types."""
    if not np.ma.is_masked(array):
        return np.asarray(as_known_type(array.filled()))
    if array.dtype.kind == "f":
        return np.asarray(as_known_type(array.filled(float("nan"))))
    return with_none(array)


def with_none(array: "np.ma.MaskedArray[Any, Any]") -> Values:
    """Return the values as objects, with None for each masked value."""
    values = np.array(array.data, dtype=object)
    values[np.ma.getmaskarray(array)] = None
    return values


def _dense(matrix: Any) -> Any:
    if prod(matrix.shape) > MOST_CELLS:
        raise refused(f"a sparse matrix of {prod(matrix.shape)} cells, of which at most {MOST_CELLS} can be written")
    return as_known_type(matrix.toarray())


def _from_arrow(value: Any) -> Any:
    names = getattr(value, "column_names", None)
    if names is None:
        return value.to_pylist()
    if len(set(names)) < len(names):
        raise refused("a table with two columns of the same name")
    return pd.DataFrame({name: pd.Series(value.column(at).to_pylist(), dtype=object) for at, name in enumerate(names)})


def _through_array(value: Any) -> Any:
    """Return an array of another library that numpy can read, such as xarray, torch or jax. Raises OutputError."""
    if hasattr(value, "detach"):  # of torch, whose tensors may have a gradient, a GPU, or a type that numpy lacks
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    try:
        array = np.asarray(value)
    except Exception as error:
        raise refused(type_in_words(value)) from error
    if array.dtype.kind == "O" and not array.ndim:
        raise refused(type_in_words(value))
    return as_known_type(array)


def _leaves(values: Sequence[Any]) -> tuple[tuple[int, ...], Any]:
    """Return the shape of nested lists and their values, as one array if all are arrays of one type and shape."""
    shape: tuple[int, ...] = (len(values),)
    flat = list(values)
    while (
        flat
        and len(shape) < MOST_DIMENSIONS
        and set(map(type, flat)) <= {list, tuple}
        and len(set(map(len, flat))) == 1
    ):
        shape = (*shape, len(flat[0]))
        flat = list(chain.from_iterable(flat))
    if flat and hasattr(flat[0], "__array__") and not isinstance(flat[0], np.generic):
        flat = [as_known_type(item) for item in flat]
    if not flat or type(flat[0]) is not np.ndarray:
        return shape, flat
    first = flat[0]
    if first.dtype.kind not in "biuf" or any(
        type(item) is not np.ndarray or item.dtype != first.dtype or item.shape != first.shape for item in flat
    ):
        return (len(values),), list(values)
    return shape, np.array(flat).reshape((*shape, *first.shape))


def _common_dtype(leaves: Sequence[Any], kinds: set[type]) -> "np.dtype[Any] | None":
    """Return the type that holds each value unchanged; None if there is none."""
    if kinds == {bool}:
        return np.dtype(bool)
    if kinds == {int}:
        least, most = min(leaves), max(leaves)
        fitting = (
            name for name, (low, high) in (("int64", INT64), ("uint64", UINT64)) if low <= least and most <= high
        )
        name = next(fitting, None)
        return None if name is None else np.dtype(name)
    if float in kinds and kinds <= {int, float, type(None)}:
        exact = int not in kinds or all(abs(leaf) <= EXACT for leaf in leaves if type(leaf) is int)
        return np.dtype(float) if exact else None
    if len(kinds) == 1 and issubclass(kind := next(iter(kinds)), np.number | np.bool_ | np.datetime64 | np.timedelta64):
        dtype: np.dtype[Any] = leaves[0].dtype
        same = not issubclass(kind, np.datetime64 | np.timedelta64) or all(leaf.dtype == dtype for leaf in leaves)
        return dtype if same else None
    return None
