"""Predictions become JSON that every client can read: numpy and pandas as MLflow has them, and nothing that is not JSON."""

import base64
from dataclasses import is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import singledispatch
from math import isfinite
from typing import Any, Final

import numpy as np
import orjson
import pandas as pd
from pandas.api.extensions import ExtensionArray

from serving_runtime.errors import OutputError
from serving_runtime.input.coerce import Coerce
from serving_runtime.protocols.exchange import Nan

NAMES: Final = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


def encode(predictions: Any, *, wrapped: bool, nan: Nan = Nan.NULL, coerce: Coerce = Coerce.SAFE) -> bytes:
    """`{"predictions": ...}`, or the predictions alone where not `wrapped`. Raises OutputError."""
    if coerce is Coerce.MLFLOW:
        predictions = _as_mlflow(predictions)
    content = {"predictions": predictions} if wrapped else predictions
    body = dumps(content)
    if nan is Nan.NULL or b"null" not in body:  # orjson writes NaN and infinity as null
        return body
    return dumps(_named(content, nan))


def dumps(content: Any) -> bytes:
    """JSON of whatever a model may return; NaN and infinity are null. Raises OutputError."""
    try:
        return orjson.dumps(content, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError) as error:
        raise OutputError(f"the model predicted what JSON cannot express ({error})") from error


def _as_mlflow(value: Any) -> Any:
    """MLflow breaks the lines of base64, and has times of an array as numbers of their own unit."""
    match value:
        case bytes():
            return base64.encodebytes(value).decode()
        case np.ndarray() if value.dtype.kind in "MO":
            return _as_mlflow(value.tolist())
        case pd.DataFrame():
            return _as_mlflow(value.to_dict(orient="records"))
        case dict():
            return {key: _as_mlflow(item) for key, item in value.items()}
        case list() | tuple():
            return [_as_mlflow(item) for item in value]
        case _:
            return value


def _named(value: Any, nan: Nan) -> Any:
    """The value with names for what is no number of JSON. Raises OutputError where it must not have any."""
    match value:
        case float() if not isfinite(value):
            if nan is Nan.ERROR:
                raise OutputError("the model predicted NaN or infinity, which this server is told to refuse")
            return NAMES[str(float(value))]
        case dict():
            return {key: _named(item, nan) for key, item in value.items()}
        case list() | tuple():
            return [_named(item, nan) for item in value]
        case None | bool() | int() | float() | str() | datetime():
            return value
        case _ if is_dataclass(value):
            return value
        case _:
            return _named(_plain(value), nan)


@singledispatch
def _plain(value: Any) -> Any:
    """What orjson does not know, as something that it does. Raises TypeError."""
    if hasattr(value, "model_dump"):  # pydantic, which models of chats answer with
        return value.model_dump()
    raise TypeError(f"a value of type {type(value).__name__}")


@_plain.register
def _(value: pd.DataFrame) -> Any:
    return value.to_dict(orient="records")


@_plain.register
def _(value: pd.Series) -> Any:
    return pd.DataFrame(value).to_dict(orient="records")


@_plain.register
def _(value: np.ndarray) -> Any:
    return list(value) if value.dtype.kind in "mM" else value.tolist()


@_plain.register
def _(value: np.generic) -> Any:
    return value.item()


@_plain.register
def _(value: np.datetime64) -> Any:
    return pd.Timestamp(value)


@_plain.register
def _(value: np.timedelta64) -> Any:
    return pd.Timedelta(value)


@_plain.register
def _(value: date | time | pd.Timedelta) -> Any:
    """ISO 8601, also for durations: a number would need its unit beside it."""
    return None if pd.isna(value) else value.isoformat()  # type: ignore[arg-type]  # NaT passes for a date


@_plain.register
def _(value: timedelta) -> Any:
    return pd.Timedelta(value)


@_plain.register(type(pd.NA))
def _(_: Any) -> None:
    return None


@_plain.register
def _(value: bytes | bytearray | memoryview) -> Any:
    return base64.b64encode(value).decode()


@_plain.register
def _(value: Decimal) -> Any:
    return str(value)


@_plain.register
def _(value: pd.Index | ExtensionArray | set | frozenset) -> Any:  # type: ignore[type-arg]  # dispatch is by the class
    return list(value)
