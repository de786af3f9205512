"""Lossless conversion of JSON values into numpy arrays of one type: a value that would change is refused.

Whole numbers may be written as floats (1.0) and the other way round; no other type is converted into another. A null
becomes NaN in floats, NaT in times and None in texts and bytes; whole numbers and booleans have no null. NaN means null
in every type but floats, because pandas marks a missing value of any type with it.
`columns.py` decides about nulls in an optional column of these.
"""

import marshal
from collections.abc import Callable, Sequence
from contextlib import suppress
from decimal import Decimal
from math import isnan
from typing import Any, Final

import numpy as np

from serving_runtime.errors import Fault
from serving_runtime.input.text_forms import parsed_bytes, parsed_time

Values = np.ndarray[Any, np.dtype[Any]]

NULL: Final = type(None)
REALS: Final = frozenset((float, NULL))
# A list, as `marshal` writes it, is this letter, its length in four bytes, and its values; a float is a letter and its
# eight bytes.
LIST: Final = b"["
FLOAT: Final = ord("g")
MARSHAL_VERSION: Final = 2  # a later one refers to a value that was written before
# Names of the types of JSON, for messages that must not repeat the value.
JSON_NAMES: Final = {
    bool: "a boolean",
    int: "a number",
    float: "a number",
    str: "a string",
    NULL: "null",
    bytes: "bytes",
    list: "an array",
    dict: "an object",
    Decimal: "a decimal that this type does not hold exactly",
}


class CellError(ValueError):
    """Error of the value at `index`: `got` and `expected` name types, and hold no value."""

    def __init__(self, index: int, got: str, expected: str) -> None:
        self.index = index
        self.got = got
        self.expected = expected
        super().__init__(f"{got}, where the model takes {expected}")

    def fault(self, path: str) -> Fault:
        return Fault.mismatch(path, got=self.got, expected=self.expected)


def every_error(values: Sequence[Any], read: Callable[[Sequence[Any]], Any], most: int) -> list[CellError]:
    """Return the errors of all values that `read` refuses, at most `most`, in the order of the values.

    After each error the values before and after it are read again, so `read` is called about `2 * most` times at most.
    """
    errors: list[CellError] = []
    parts = [(0, values)]
    while parts and len(errors) < most:
        start, part = parts.pop()
        if not len(part):
            continue
        try:
            read(part)
        except CellError as error:
            errors.append(CellError(start + error.index, error.got, error.expected))
            parts += [(start + error.index + 1, part[error.index + 1 :]), (start, part[: error.index])]
    return sorted(errors, key=lambda error: error.index)


def json_type_name(value: Any) -> str:
    """Return the name of a value's type in JSON; a number of an array is that of its list."""
    value = value.item() if isinstance(value, np.number | np.bool_) else value
    return JSON_NAMES.get(type(value), f"a value of type {type(value).__name__}")


def is_nan(value: Any) -> bool:
    """Return True for NaN of Python; False for an array that holds it."""
    return type(value) is float and isnan(value)


def null_for_nan(values: Sequence[Any]) -> Sequence[Any]:
    """Return a list, or an array of floats, with null for each NaN; other sequences as they are."""
    if isinstance(values, np.ndarray) and values.ndim == 1 and values.dtype.kind == "f" and np.isnan(values).any():
        values = values.tolist()
    if type(values) is not list or float not in map(type, values):
        return values
    return [None if is_nan(value) else value for value in values]


def convert(values: Sequence[Any], dtype: np.dtype[Any]) -> Values:
    """Return the values as an array of `dtype` in one dimension. Raises CellError for a value that does not fit."""
    if isinstance(values, np.ndarray):
        return _convert_array(values, dtype)
    if dtype.kind not in "fO":
        values = null_for_nan(values)
    match dtype.kind:
        case "b":
            return _booleans(values)
        case "i" | "u":
            return _whole_numbers(values, dtype)
        case "f":
            return _floats(values, dtype)
        case "U" | "T":
            return _texts(values)
        case "M":
            return _times(values)
        case "S":
            return _ascii(values)
        case "O":
            return _objects(values)
        case _:
            raise CellError(0, "a value", f"the type {dtype}, which no protocol here can send")


def convert_numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> Values:
    """Do as `convert` does, in half the time if all are numbers that the type is made of. Raises CellError."""
    kinds = set(map(type, values))
    if dtype == np.float64 and kinds <= REALS:
        floats = np.array(values, dtype)
        if not np.count_nonzero(np.isinf(floats)):
            return floats
    elif dtype == np.float32 and kinds <= REALS:
        with np.errstate(over="ignore"):
            floats = np.array(values, dtype)
        if not np.count_nonzero(np.isinf(floats)):
            return floats
    elif dtype == np.int64 and kinds == {int}:
        with suppress(OverflowError):
            return np.array(values, dtype)
    return convert(values, dtype)


def doubles_of_rows(rows: Sequence[Sequence[Any]], width: int) -> Values | None:
    """Return lists of `width` floats as an array with a row for each; None if there is another value in them.

    It takes a third of the time that numpy and a set of the types take: `marshal` writes types and values in one pass.
    """
    head = LIST + width.to_bytes(4, "little")
    layout = np.dtype([("list", f"S{len(head)}"), ("cells", [("type", "u1"), ("number", "<f8")], (width,))])
    try:
        written = marshal.dumps(list(rows), MARSHAL_VERSION)
    except ValueError:  # nested too deep
        return None
    if len(written) != len(head) + len(rows) * layout.itemsize:
        return None
    found = np.frombuffer(written, layout, offset=len(head))
    if (found["list"] != head).any() or (found["cells"]["type"] != FLOAT).any():
        return None
    numbers: Values = found["cells"]["number"]
    return numbers


def convert_base64(values: Sequence[Any]) -> Values:
    """Return bytes that were sent as base64 with padding (RFC 4648, section 4), in one line or in several.

    Raises CellError.
    """
    expected = "bytes as a string in base64"
    values = null_for_nan(values)
    _expect(values, {str, bytes, NULL}, expected)
    return _objects(
        [
            _each(index, value, parsed_bytes, "a string that is no base64 with padding", expected)
            for index, value in enumerate(values)
        ]
    )


def _convert_array(array: Values, dtype: np.dtype[Any]) -> Values:
    """Return an array in another type: at once if every value fits, else by the rules for single values."""
    if array.dtype == dtype:
        return array
    if array.dtype.kind == dtype.kind == "f":
        with np.errstate(over="ignore"):
            converted = array.astype(dtype)
        _refuse_infinite(np.isinf(converted) & ~np.isinf(array), dtype)
        return converted
    if array.size and array.dtype.kind in "iu" and dtype.kind in "iu":
        limits = np.iinfo(dtype)
        if limits.min <= int(array.min()) and int(array.max()) <= limits.max:
            return array.astype(dtype)
    return convert(array.tolist(), dtype)


def _refuse_infinite(infinite: Values, dtype: np.dtype[Any]) -> None:
    if infinite.any():
        raise CellError(int(infinite.argmax()), f"infinity, or a number too large for {dtype}", "a number")


def _booleans(values: Sequence[Any]) -> Values:
    _expect(values, {bool}, "true or false")
    return np.array(values, dtype=bool)


def _whole_numbers(values: Sequence[Any], dtype: np.dtype[Any]) -> Values:
    limits = np.iinfo(dtype)
    expected = f"a whole number from {limits.min} to {limits.max}"
    _expect(values, {int, float}, expected)
    if float in set(map(type, values)):
        values = [
            _each(index, value, _whole, "a number that has a fraction", expected) for index, value in enumerate(values)
        ]
    if values and not (limits.min <= min(values) and max(values) <= limits.max):
        raise CellError(
            _first(values, lambda value: not limits.min <= value <= limits.max), "a number out of range", expected
        )
    return np.array(values, dtype=dtype)


def _floats(values: Sequence[Any], dtype: np.dtype[Any]) -> Values:
    _expect(values, {int, float, NULL}, "a number")
    try:
        with np.errstate(over="ignore"):
            converted = np.array(values, dtype=dtype)
    except OverflowError:
        raise CellError(_first(values, _beyond_double), f"a number too large for {dtype}", "a number") from None
    if int in set(map(type, values)):
        _expect_exact(values, converted)
    _refuse_infinite(np.isinf(converted), dtype)
    return converted


def _expect_exact(values: Sequence[Any], converted: Values) -> None:
    """Raise CellError for a whole number that the float type would round: an identifier would become another one."""
    exact = 2 ** (np.finfo(converted.dtype).nmant + 1)
    for index in np.flatnonzero(np.abs(converted) >= exact).tolist():
        if type(values[index]) is int and np.isfinite(converted[index]) and int(converted[index]) != values[index]:
            raise CellError(index, f"a whole number that {converted.dtype} would round", "a number")


def _texts(values: Sequence[Any]) -> Values:
    _expect(values, {str, NULL}, "a string")
    return _objects(values)


def _times(values: Sequence[Any]) -> Values:
    expected = 'a date or time as a string, such as "2024-01-31T12:00:00Z"'
    _expect(values, {str, NULL}, expected)
    problem = "a string that is no date or time of ISO 8601 with hyphens and colons, or out of range"
    moments = [_each(index, value, parsed_time, problem, expected) for index, value in enumerate(values)]
    return np.array(moments, dtype="datetime64[ns]")


def _ascii(values: Sequence[Any]) -> Values:
    expected = "a string of ASCII"
    _expect(values, {str}, expected)
    coded = [
        _each(index, value, lambda text: text.encode("ascii"), "a string of other letters", expected)
        for index, value in enumerate(values)
    ]
    return np.array(coded)


def _objects(values: Sequence[Any]) -> Values:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def _expect(values: Sequence[Any], kinds: set[type], expected: str) -> None:
    if not set(map(type, values)) <= kinds:
        index = _first(values, lambda value: type(value) not in kinds)
        raise CellError(index, json_type_name(values[index]), expected)


def _first(values: Sequence[Any], wrong: Callable[[Any], bool]) -> int:
    return next(index for index, value in enumerate(values) if wrong(value))


def _each(index: int, value: Any, read: Callable[[Any], Any], got: str, expected: str) -> Any:
    if value is None:
        return None
    try:
        return read(value)
    except ValueError:
        raise CellError(index, got, expected) from None


def _whole(value: float) -> int:
    if not float(value).is_integer():
        raise ValueError
    return int(value)


def _beyond_double(value: Any) -> bool:
    try:
        return value is not None and bool(np.isinf(float(value)))
    except OverflowError:
        return True
