"""Reads JSON without losing anything: what a reader would drop, guess or choke on is refused.

orjson reads what is beyond doubt; where a name may come twice, a number may be too long or anything is wrong, Python's
own reader decides, which is slower and says what it finds.
"""

import json
import re
from collections.abc import Iterable
from typing import Any, Final

import orjson

from serving_runtime.errors import MalformedRequestError

DEPTH: Final = 6  # objects in which names are counted
# orjson reads whole numbers of more than 64 bits as the nearest double: such bodies are left to Python's own reader. To
# look for that many digits in a row, whichever they are, costs a fifth of the pattern.
LONG: Final = re.compile(rb"(?<![\d.])\d{19}")
ANY_DIGIT: Final = bytes.maketrans(b"123456789", b"000000000")
DIGITS: Final = b"0" * 19


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` is. Raises MalformedRequestError, without anything of the body."""
    document = read_value(body)
    if not isinstance(document, dict):
        raise MalformedRequestError("the body must be a JSON object")
    return document


def read_value(body: bytes) -> Any:
    """Raises MalformedRequestError, without anything of the body."""
    try:
        document = orjson.loads(body)
    except ValueError:
        return _read(body)  # which knows what is wrong, if anything is
    # In a string a colon may stand for itself, so there may be more colons than names, but never fewer.
    if body.count(b":") > _names((document,), DEPTH) or (DIGITS in body.translate(ANY_DIGIT) and LONG.search(body)):
        return _read(body)
    return document


def _names(values: Iterable[Any], depth: int) -> int:
    """The names in the objects near the top, without looking into long lists of values: a lower bound of the number of
    all.
    """
    names = 0
    for value in values:
        if isinstance(value, dict):
            names += len(value) + (_names(value.values(), depth - 1) if depth else 0)
        elif depth and isinstance(value, list) and value and isinstance(value[0], dict):
            names += _names(value, depth - 1)
    return names


def _read(body: bytes) -> Any:
    try:
        return json.loads(
            body.decode("utf-8-sig"), object_pairs_hook=_without_doubles, parse_constant=_refused, parse_float=_finite
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


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        raise MalformedRequestError("an object in the body has a key that comes twice")
    return document


def _refused(constant: str) -> Any:
    raise MalformedRequestError(f"the body holds {constant}, which JSON does not have; send null for a missing number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise MalformedRequestError("the body holds a number beyond what a double can hold")
    return number
