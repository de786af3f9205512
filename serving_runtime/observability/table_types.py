"""Columns of Arrow for values of a signature's types, as DuckDB, Spark and pandas read them from Parquet."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from serving_runtime.codec.encode import dumps, encode
from serving_runtime.codec.returned_values import EXACT
from serving_runtime.codec.strict_json import read_written
from serving_runtime.observability.capture_records import without
from serving_runtime.signature import Array, Map, Object, Scalar, Type
from serving_runtime.tables.predictions import PREDICTION, as_predictions

Columns = dict[str, pa.Array]

# Spark reads no nanoseconds.
MOMENT: Final = "datetime64[us]"
SCALARS: Final = {
    "boolean": pa.bool_(),
    "integer": pa.int32(),
    "long": pa.int64(),
    "float": pa.float32(),
    "double": pa.float64(),
    "string": pa.string(),
    "binary": pa.binary(),
    "datetime": pa.timestamp("us"),
}


def arrow_type(kind: Type) -> pa.DataType:
    """Return the type of a column; that of a value without a type is a text of JSON."""
    match kind:
        case Scalar(name=name):
            return SCALARS[name]
        case Array(items=items):
            return pa.list_(arrow_type(items))
        case Object(properties=properties) if properties:
            return pa.struct([(name, arrow_type(each.type)) for name, each in properties.items()])
        case Map(values=values):
            return pa.map_(pa.string(), arrow_type(values))
        case _:
            return pa.string()


def is_json(kind: Type) -> bool:
    """Return True if the cells of a column are texts of JSON."""
    return arrow_type(kind) == pa.string() and kind != Scalar(name="string")


def column(values: Any, kind: Type, redacted: frozenset[str] = frozenset()) -> pa.Array:
    """Return the cells of one column, an array or a list, with null for NaN. Raises ArrowException, TypeError."""
    wanted = arrow_type(kind)
    match kind:
        case Scalar(name="datetime"):
            return pa.array(pd.Series(values).astype(MOMENT), type=wanted)
        case Scalar() if isinstance(values, np.ndarray) and values.dtype.kind in "biuf":
            return pa.array(values, type=wanted, from_pandas=True)
        case Scalar():
            found = pa.array(values, from_pandas=True)
            return found if found.type == wanted else found.cast(wanted)
        case _:
            return pa.array([_cell(without(cell, redacted), kind) for cell in values], type=wanted)


def _cell(value: Any, kind: Type) -> Any:
    """Return a nested cell as Arrow takes it: a map as pairs, a value without a type as JSON."""
    if value is None or (isinstance(value, float) and value != value):  # noqa: PLR0124  NaN alone is unequal
        return None
    match kind:
        case Scalar(name="datetime"):
            return pd.Timestamp(value).to_pydatetime()
        case Scalar():
            return value.item() if isinstance(value, np.generic) else value
        case Array(items=items):
            return [_cell(item, items) for item in value]
        case Object(properties=properties) if properties:
            return {name: _cell(value.get(name), each.type) for name, each in properties.items()}
        case Map(values=values):
            return [(str(key), _cell(item, values)) for key, item in value.items()]
        case _:
            return encode(value, wrapped=False).decode()


def tensor_column(tensors: Sequence["np.ndarray[Any, Any]"]) -> pa.Array:
    """Return a cell for each row of each tensor: a number, or nested lists."""
    if len({(tensor.shape[1:], tensor.dtype) for tensor in tensors}) == 1:
        return _rows(np.concatenate(tensors))
    return pa.concat_arrays([_rows(tensor) for tensor in tensors])


def _rows(tensor: "np.ndarray[Any, Any]") -> pa.Array:
    if tensor.dtype == np.float16:
        tensor = tensor.astype(np.float32)
    if tensor.dtype.kind == "M":
        tensor = tensor.astype(MOMENT)
    flat = tensor.reshape(-1)
    found = pa.array(flat if flat.dtype.kind in "biufM" else flat.tolist())
    for axis in range(tensor.ndim - 1, 0, -1):
        count = int(np.prod(tensor.shape[:axis], dtype=np.int64))
        found = pa.ListArray.from_arrays(pa.array(np.arange(count + 1) * tensor.shape[axis], pa.int32()), found)
    return found


def prediction_columns(predicted: Any, rows: int, redacted: frozenset[str]) -> Columns:
    """Return predictions, one for each row, as columns; what has no type of Arrow is a text of JSON.

    Raises OutputError, ArrowException.
    """
    plain = as_predictions(predicted, rows)
    if plain is not None:
        names = plain.table.column_names
        named = [f"{PREDICTION}_{name}" for name in names] if plain.form == "object" else names
        return {name: each.combine_chunks() for name, each in zip(named, plain.table.columns, strict=True)}
    if isinstance(predicted, pd.DataFrame):
        places = range(predicted.shape[1])
        return {
            f"{PREDICTION}_{predicted.columns[place]}": _values(predicted.iloc[:, place].tolist(), redacted)
            for place in places
        }
    is_plain = isinstance(predicted, np.ndarray) and predicted.dtype.kind not in "mM"  # of which it makes numbers
    return {PREDICTION: _values(predicted.tolist() if is_plain else list(predicted), redacted)}


def _values(values: Sequence[Any], redacted: frozenset[str]) -> pa.Array:
    """Return what the answer's JSON has for the values: booleans, numbers or texts, or a text of JSON for each.

    The texts are JSON if the values are of several kinds, or of one that no column holds. Null is null in any case.
    """
    found = _of_one_kind(values)
    if found is not None:
        return found
    written = read_written(encode([without(value, redacted) for value in values], wrapped=False))
    found = _of_one_kind(written)
    if found is not None:
        return found
    texts = [None if value is None else dumps(value).decode() for value in written]
    return pa.array(texts, type=pa.string())


def _of_one_kind(values: Sequence[Any]) -> pa.Array | None:
    """Return a column of the values; None if they are not of one kind, or numbers that its type does not hold."""
    kinds = {type(value) for value in values if value is not None}
    if kinds == {int, float}:
        exact = all(abs(value) <= EXACT for value in values if type(value) is int)
        return pa.array(values, type=pa.float64(), from_pandas=True) if exact else None
    for kind, wanted in ((bool, pa.bool_()), (int, pa.int64()), (float, pa.float64()), (str, pa.string())):
        if kinds <= {kind}:
            try:
                return pa.array(values, type=wanted, from_pandas=True)
            except (pa.ArrowInvalid, OverflowError):  # a whole number beyond 64 bits
                return None
    return None
