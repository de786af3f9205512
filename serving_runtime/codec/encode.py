"""Predictions become JSON that every client can read: numpy and pandas as MLflow has them, and nothing that is not JSON."""

import base64
from datetime import date, time, timedelta
from decimal import Decimal
from functools import singledispatch
from typing import Any

import numpy as np
import orjson
import pandas as pd
from pandas.api.extensions import ExtensionArray

from serving_runtime.errors import OutputError


def encode(predictions: Any, *, wrapped: bool) -> bytes:
    """`{"predictions": ...}`, or the predictions alone where not `wrapped`. NaN and infinity are null. Raises OutputError."""
    try:
        return orjson.dumps({"predictions": predictions} if wrapped else predictions, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    except (TypeError, ValueError) as error:
        raise OutputError(f"the model predicted what JSON cannot express ({error})") from error


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
