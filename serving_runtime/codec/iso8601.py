"""Times and durations that a model returns, as texts of ISO 8601."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pandas as pd

MONTHS: Final = frozenset("YM")
DATES: Final = frozenset("YMWD")  # units of numpy that ISO 8601 writes before the T, by the same letters
PARTS_OF_SECOND: Final = {"ms": 3, "us": 6, "ns": 9, "ps": 12, "fs": 15, "as": 18}  # powers of ten


def iso_text(value: Any) -> str | None:
    """Return a time or a duration of numpy in ISO 8601, also one for which pandas has no type; None for NaT."""
    if np.isnat(value):
        return None
    if isinstance(value, np.timedelta64):
        return _duration_text(value)
    try:
        return pd.Timestamp(value).isoformat()
    except (ValueError, OverflowError):  # the years of pandas end at 292277
        return str(np.datetime_as_string(value))


def _duration_text(value: "np.timedelta64") -> str:
    unit, step = np.datetime_data(value.dtype)
    count = int(value.astype("i8")) * step
    if unit not in MONTHS:
        with suppress(ValueError, OverflowError):  # pandas has no unit below a nanosecond, and ends after 292 years
            return pd.Timedelta(value).isoformat()
    if unit in PARTS_OF_SECOND:
        return f"PT{Decimal(count).scaleb(-PARTS_OF_SECOND[unit]):f}S"
    return f"P{count}{unit}" if unit in DATES else f"PT{count}{unit.upper()}"


def iso_texts(values: Sequence[Any]) -> list[str] | None:
    """Return times as texts; None if a value is no time, or if there are no values."""
    if not values or not all(isinstance(value, datetime) and not pd.isna(value) for value in values):
        return None
    return [value.isoformat() for value in values]
