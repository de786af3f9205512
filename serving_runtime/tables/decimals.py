"""Columns of decimals as the numbers that a request in JSON would have, if the signature's type holds them exactly."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from serving_runtime.signature import WHOLE_NUMBERS, Scalar, Type

LARGEST_POWER: Final = 22  # 10**22 is the last power of ten that is a double


@dataclass(frozen=True, slots=True, kw_only=True)
class _Float:
    """Each decimal of at most `digits` digits is the shortest text of a number of the type."""

    digits: int
    text: Callable[[float], str]


FLOATS: Final = {
    Scalar(name="float"): _Float(digits=6, text=lambda number: str(np.float32(number))),
    Scalar(name="double"): _Float(digits=15, text=repr),
}


def decimal_cells(column: pa.Array, kind: Type | None) -> Any:
    """Return whole numbers or doubles, as the type needs.

    A decimal that the type cannot hold exactly stays a decimal, which the checks refuse with its place.
    """
    if isinstance(kind, Scalar) and (floats := FLOATS.get(kind)):
        return _doubles(column) if _is_short(column.type, floats) else [_double(v, floats) for v in column.to_pylist()]
    if kind in WHOLE_NUMBERS:
        return [_whole(value) for value in column.to_pylist()]
    return column.to_pylist()


def _is_short(kind: pa.DataType, floats: _Float) -> bool:
    return bool(pa.types.is_decimal128(kind) and kind.precision <= floats.digits and 0 <= kind.scale <= LARGEST_POWER)


def _doubles(column: pa.Array) -> Any:
    """Return the nearest double of each, by a division of two exact doubles."""
    words = np.frombuffer(column.buffers()[1] or b"", dtype="<i8")  # two for each number, the lower one first
    numbers = words[::2][column.offset : column.offset + len(column)] / 10.0**column.type.scale
    numbers[column.is_null().to_numpy(zero_copy_only=False)] = np.nan
    return numbers


def _double(value: Decimal | None, floats: _Float) -> Any:
    """Return a whole number as one: the checks refuse it if a double would round it."""
    if value is None or value == value.to_integral_value():
        return None if value is None else int(value)
    with np.errstate(over="ignore"):
        return float(value) if Decimal(floats.text(float(value))) == value else value


def _whole(value: Decimal | None) -> Any:
    return value if value is None or value != value.to_integral_value() else int(value)
