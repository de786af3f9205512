"""Writing of predictions as strict JSON; values of numpy and pandas have the form that MLflow gives them."""

import base64
import json
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import singledispatch
from math import isfinite
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd

from serving_runtime.codec.iso8601 import iso_text
from serving_runtime.codec.returned_values import (
    LONE_SURROGATE,
    NAMES_OF_FLOATS,
    as_known_type,
    column_names,
    is_record,
    key_text,
    members,
    record_rows,
    refused,
    type_in_words,
    with_none,
)
from serving_runtime.errors import OutputError
from serving_runtime.options import Coerce, Nan

# orjson leaves out the fields of a dataclass whose names begin with an underscore.
OPTIONS: Final = orjson.OPT_PASSTHROUGH_DATACLASS
# Type codes of numpy's booleans, integers and floats of at most eight bytes: Python's types hold these unchanged.
PYTHON_NUMBERS: Final = frozenset("?bhilqBHILQefd")


def encode(predictions: Any, *, wrapped: bool, nan: Nan = Nan.NULL, coerce: Coerce = Coerce.SAFE) -> bytes:
    """Return `{"predictions": ...}` as JSON, or the predictions alone if not `wrapped`. Raises OutputError."""
    if coerce is Coerce.MLFLOW:
        predictions = _as_mlflow(predictions)
    return dumps({"predictions": predictions} if wrapped else predictions, nan)


def dumps(content: Any, nan: Nan = Nan.NULL) -> bytes:
    """Return any value that a model may return as JSON. Raises OutputError."""
    content = _without_matrix(content)
    try:
        body = orjson.dumps(content, default=_jsonable, option=OPTIONS)
    except (TypeError, ValueError):
        return _dumped_slowly(content, nan)  # Python's writer takes more types, and says what is wrong
    if nan is Nan.NULL or b"null" not in body:  # orjson writes NaN and infinity as null
        return body
    return _dumped_slowly(content, nan)


def _without_matrix(content: Any) -> Any:
    """Return an answer with arrays for scipy's matrices of keys, which are dicts: orjson would write them as empty."""
    if type(content) is dict:
        matrices = {key for key, value in content.items() if type(value) is not dict and isinstance(value, dict)}
        return content | {key: as_known_type(content[key]) for key in matrices} if matrices else content
    return as_known_type(content) if isinstance(content, dict) else content


def _dumped_slowly(content: Any, nan: Nan) -> bytes:
    """Return the JSON of Python's own writer, which takes whole numbers of any length. Raises OutputError."""
    try:
        text = _written(_rebuilt(content, nan))
    except RecursionError:
        raise refused("values that are nested too deep, or that contain themselves") from None
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise refused(LONE_SURROGATE) from None


def _written(content: Any) -> str:
    try:
        return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:  # Python writes no integer of more than 4,300 digits
        raise refused("a number of too many digits") from error


def _as_mlflow(value: Any) -> Any:
    """Return the value as MLflow writes it: base64 in lines, and times of an array as numbers in the array's unit."""
    match value:
        case bytes():
            return base64.encodebytes(value).decode()
        case np.ndarray() if value.dtype.kind in "MO":
            return _as_mlflow(value.tolist())
        case pd.DataFrame():
            return _as_mlflow(_records(value))
        case dict():
            return {key: _as_mlflow(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_mlflow(item) for item in value]
        case _:
            return value


def _rebuilt(value: Any, nan: Nan) -> Any:  # noqa: C901  one case for each type of Python
    """Return the value in the types that Python's JSON writer knows, without NaN and infinity. Raises OutputError."""
    match value:
        case Enum():
            return _rebuilt(value.value, nan)
        case None | bool():
            return value
        case str():
            return str(value)
        case int():
            return int(value)
        case float():
            return float(value) if isfinite(value) else _not_finite(float(value), nan)
        case dict():
            names = [key_text(key) for key in value]
            if len(set(names)) < len(names):
                raise refused("a dict with two keys of the same text")
            return {name: _rebuilt(item, nan) for name, item in zip(names, value.values(), strict=True)}
        case list() | tuple():
            return [_rebuilt(item, nan) for item in value]
        case pd.DataFrame():
            return [_rebuilt(record, nan) for record in _records_without_missing(value)]
        case datetime():
            return _rebuilt(None if pd.isna(value) else value.isoformat(), nan)
        case _:
            return _rebuilt(_jsonable(value), nan)


def _not_finite(number: float, nan: Nan) -> str | None:
    if nan is Nan.ERROR:
        raise OutputError("the model predicted NaN or infinity, which this server refuses (--nan error)")
    return None if nan is Nan.NULL else NAMES_OF_FLOATS[str(number)]


def _records_without_missing(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return one dict for each row, with None for missing values.

    In a column of numpy floats NaN stays, because there it may be a prediction; in all other columns it means missing.
    """
    names = column_names(frame)
    if not names:
        return [{} for _ in range(len(frame))]
    columns = [_missing_is_none(frame.iloc[:, at]) for at in range(frame.shape[1])]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _missing_is_none(column: "pd.Series[Any]") -> list[Any]:
    if getattr(column.dtype, "kind", "O") == "f" and isinstance(column.dtype, np.dtype):
        return column.tolist()
    return column.astype(object).where(column.notna(), None).tolist()


def _records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """Return one dict for each row. Raises OutputError."""
    names = column_names(frame)
    if any(name is not key for name, key in zip(names, frame.columns, strict=True)):
        frame = frame.set_axis(names, axis=1)
    records: list[dict[Any, Any]] = frame.to_dict(orient="records")
    return records


@singledispatch
def _jsonable(value: Any) -> Any:
    """Return a value that orjson does not know as types that orjson knows. Raises OutputError."""
    if isinstance(value, type):
        raise refused(type_in_words(value))
    if is_record(value):
        return members(value)
    if hasattr(value, "model_dump"):  # an object of pydantic, as chat models return
        return value.model_dump()
    if isinstance(value, tuple):  # a namedtuple
        return list(value)
    if isinstance(value, float):
        return float(value)
    if (converted := as_known_type(value)) is not value:
        return converted
    if hasattr(value, "as_py"):  # a scalar of Arrow
        return value.as_py()
    raise refused(type_in_words(value))


@_jsonable.register
def _(value: pd.DataFrame) -> Any:
    return _records(value)


@_jsonable.register
def _(value: pd.Series) -> Any:
    return _records(pd.DataFrame(value))


@_jsonable.register
def _(value: np.ndarray) -> Any:
    if (
        type(value) is np.ndarray and value.dtype.char in PYTHON_NUMBERS
    ):  # the usual prediction, without the calls below
        return value.tolist()
    if (
        isinstance(value, np.ma.MaskedArray) and value.dtype.names is None and np.ma.is_masked(value)
    ):  # a masked value is null, also if NaN is written by its name
        value = with_none(value)
    array = as_known_type(value)
    if array.dtype.kind not in "mM":
        return array.tolist()
    return list(array) if array.ndim else array[()]


@_jsonable.register
def _(value: np.generic) -> Any:
    if isinstance(value, np.void) and value.dtype.names is not None:
        return record_rows(np.array([value]))[0]
    item = value.item()
    if isinstance(item, np.generic | complex):
        raise refused(
            "complex numbers"
            if isinstance(item, complex) or value.dtype.kind == "c"
            else f"a number of the type {value.dtype}"
        )
    return item


@_jsonable.register
def _(value: np.datetime64 | np.timedelta64) -> Any:
    return iso_text(value)


@_jsonable.register
def _(value: date | time | pd.Timedelta) -> Any:
    """Return ISO 8601, also for durations, because a number would need its unit with it."""
    return None if pd.isna(value) else value.isoformat()  # type: ignore[arg-type]  # NaT passes for a date


@_jsonable.register
def _(value: timedelta) -> Any:
    return pd.Timedelta(value)


@_jsonable.register(type(pd.NA))
def _(_: Any) -> None:
    return None


@_jsonable.register
def _(value: bytes | bytearray | memoryview) -> Any:
    return base64.b64encode(value).decode()


@_jsonable.register
def _(value: Decimal | pd.Period | pd.Interval) -> Any:
    return str(value)


@_jsonable.register
def _(value: complex) -> Any:
    raise refused("complex numbers")
