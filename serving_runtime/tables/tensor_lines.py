"""Reading of JSON lines into arrays, for a model of tensors of numbers: one line's values at a time become numbers.

Lines with anything but numbers in their records are left to `codec/strict_json.py`, and so are numbers that an array of
doubles might hold differently.
"""

import struct
from collections.abc import Mapping, Sequence
from itertools import chain
from math import prod
from struct import Struct
from typing import Any, Final

import numpy as np
import orjson

from serving_runtime.input.request import Request
from serving_runtime.input.table import Table
from serving_runtime.signature import Signature, Tensor

PATH: Final = "table"  # of the lines, in the messages about their values
# Every byte of a record of numbers, but for its keys.
OF_NUMBERS: Final = b"0123456789.,-+eE[]{}: \t\r\n"
# From here on a double, or a float, may be another number than the text's.
EXACT: Final = {"f8": 2.0**53, "f4": 2.0**24, "f2": 2.0**11}
WHOLE: Final = 2.0**53

Values = np.ndarray[Any, np.dtype[Any]]


def read_tensors(lines: Sequence[bytes], signature: Signature) -> Request | None:
    """Return the request for the records of the lines, one on each; None if each value must be read alone."""
    first = _record(lines[0])
    if first is None or len(first) < len(signature.tensors) or not (signature.named or len(first) == 1):
        return None
    keys = [str(tensor.name) for tensor in signature.tensors] if signature.named else list(first)
    shapes = [_shape(first.get(key)) for key in keys]
    if not all(shapes):
        return None
    arrays = [np.empty((len(lines), prod(shape))) for shape in shapes]
    # In two thirds of the time in which numpy makes doubles of a list.
    packers = [Struct(f"{prod(shape)}d") for shape in shapes]
    other_bytes = lines[0].translate(None, OF_NUMBERS)
    try:
        for row, line in enumerate(lines):
            if line.translate(None, OF_NUMBERS) != other_bytes:
                return None
            record = orjson.loads(line)
            for key, shape, packer, array in zip(keys, shapes, packers, arrays, strict=True):
                packer.pack_into(array[row], 0, *_numbers(record[key], shape))
    except (ValueError, TypeError, KeyError, OverflowError, struct.error):
        return None
    columns: dict[str, Any] = {}
    for key, tensor, shape, array in zip(keys, signature.tensors, shapes, arrays, strict=True):
        values = _exact(array, tensor)
        if values is None:
            return None
        columns[key] = values.reshape(len(lines), *shape)
    place = f'{PATH}[{{1}}]["{{0}}"]'.format
    return Request(input=Table(columns=columns, rows=len(lines), path=PATH, place=place))


def _record(line: bytes) -> Mapping[str, Any] | None:
    """Return the record of a line if it has numbers only, and each key once."""
    try:
        record = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    keys = b"".join(orjson.dumps(key) for key in record).translate(None, OF_NUMBERS)
    return record if line.translate(None, OF_NUMBERS) == keys else None


def _shape(value: Any) -> tuple[int, ...]:
    """Return the lengths of nested lists; () if the value is none, or has no number."""
    shape: tuple[int, ...] = ()
    while isinstance(value, list) and value:
        shape, value = (*shape, len(value)), value[0]
    return shape if isinstance(value, int | float) else ()


def _numbers(value: Any, shape: Sequence[int]) -> list[Any]:
    """Return the values in lists of these lengths. Raises TypeError if the value has another form."""
    values = [value]
    for length in shape:
        if set(map(type, values)) != {list} or set(map(len, values)) != {length}:
            raise TypeError
        values = values[0] if len(values) == 1 else list(chain.from_iterable(values))
    return values


def _exact(array: Values, tensor: Tensor) -> Values | None:
    """Return the numbers in a type from which that of the tensor follows without loss; None if one may differ."""
    largest = max(-array.min(), array.max())
    if tensor.dtype.kind == "f":
        return array if largest < EXACT.get(tensor.dtype.str[1:], 0.0) else None
    if tensor.dtype.kind not in "iu" or not largest < WHOLE:
        return None
    whole = array.astype(np.int64)
    return whole if (whole == array).all() else None
