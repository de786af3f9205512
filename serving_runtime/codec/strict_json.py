"""Lossless reading of JSON. A body is refused if a reader would have to drop or guess a value.

orjson reads the usual body. If a name may come twice, a number may be too long or something is wrong, Python's own
reader decides: it is slower, and says what it finds. It also takes `NaN`. JSON has no NaN, but Python's JSON writer,
which MLflow's client and many others use, writes it for a missing value.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import orjson

from serving_runtime.errors import MalformedRequestError

COUNTED_LEVELS: Final = 6  # levels of objects whose names are counted
# orjson reads whole numbers of more than 64 bits as the nearest double: Python's own reader takes such bodies. A
# search for that many equal digits, after all digits have become 0, costs a fifth of the search for the pattern.
LONG_NUMBER: Final = re.compile(rb"(?<![\d.])\d{19}")
ANY_DIGIT: Final = bytes.maketrans(b"123456789", b"000000000")
DIGITS: Final = b"0" * 19
# From so many bytes on, numpy finds digits in a row, and counts colons, in a fifth of the time.
MANY_BYTES: Final = 8 << 10
PIECE: Final = 256 << 10  # bytes of a body that numpy looks at together
LONGER: Final = (1, 2, 4, 8, 3)  # 2, 4, 8, 16 and 19 digits in a row, each from two shorter rows that overlap or meet


def read_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object of the body. Raises MalformedRequestError, whose message holds no part of the body."""
    document = read_value(body)
    if not isinstance(document, dict):
        raise MalformedRequestError("the body must be a JSON object")
    return document


def read_value(body: bytes) -> Any:
    """Return the JSON value of the body. Raises MalformedRequestError, whose message holds no part of the body."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return _read_with_python(body)  # raises the error, or reads what only orjson refuses
    # A string may hold colons too, so a body may have more colons than names, but never fewer.
    if _count_colons(body) > _count_names((document,), COUNTED_LEVELS) or _has_long_number(body):
        return _read_with_python(body)
    return document


def read_written(text: bytes) -> Any:
    """Return the value of JSON that a writer made, in which no key comes twice. Raises ValueError if it is no JSON."""
    return json.loads(text) if _has_long_number(text) else orjson.loads(text)


def _count_colons(text: bytes) -> int:
    if len(text) < MANY_BYTES:
        return text.count(b":")
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(":")))


def _has_long_number(text: bytes) -> bool:
    return _has_digits_in_a_row(text) and LONG_NUMBER.search(text) is not None


def _has_digits_in_a_row(text: bytes) -> bool:
    if len(text) < MANY_BYTES:
        return DIGITS in text.translate(ANY_DIGIT)
    whole = np.frombuffer(text, np.uint8)
    return any(_are_in_a_row(whole[start : start + PIECE + len(DIGITS)]) for start in range(0, len(text), PIECE))


def _are_in_a_row(text: "np.ndarray[Any, np.dtype[np.uint8]]") -> bool:
    digits = text - ord("0") < 10  # noqa: PLR2004  a byte before "0" becomes one of the largest
    for more in LONGER:
        digits = digits[more:] & digits[:-more]
    return bool(digits.any())


def _count_names(values: Iterable[Any], depth: int) -> int:
    """Count the names in the objects near the top, without lists of other values: a lower bound for the whole body."""
    names = 0
    for value in values:
        if isinstance(value, dict):
            names += len(value) + (_count_names(value.values(), depth - 1) if depth else 0)
        elif depth and isinstance(value, list) and value and isinstance(value[0], dict):
            names += _count_names(value, depth - 1)
    return names


def _read_with_python(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_unique_keys,
            parse_constant=_nan,
            parse_float=_finite_float,
        )
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 (at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise MalformedRequestError(
            f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except RecursionError:
        raise MalformedRequestError("the body is nested too deep") from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise MalformedRequestError("the body holds a number of too many digits") from None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise MalformedRequestError("an object in the body has a key that comes twice")
    return document


def _nan(constant: str) -> float:
    if constant == "NaN":
        return float("nan")
    raise MalformedRequestError(f"the body holds {constant}, which JSON does not have")


def _finite_float(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedRequestError("the body holds a number beyond what a double can hold")
    return number
