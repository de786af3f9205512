"""Reads JSON without losing anything: what Python's reader would drop, guess or choke on is refused."""

import json
from typing import Any

from serving_runtime.errors import MalformedRequestError


def read_object(body: bytes) -> dict[str, Any]:
    """The JSON object that `body` is. Raises MalformedRequestError, without anything of the body."""
    try:
        document = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_without_doubles, parse_constant=_refused, parse_float=_finite)
    except UnicodeDecodeError as error:
        raise MalformedRequestError(f"the body is not UTF-8 (at byte {error.start})") from None
    except json.JSONDecodeError as error:
        raise MalformedRequestError(f"the body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})") from None
    except RecursionError:
        raise MalformedRequestError("the body is nested too deep") from None
    except ValueError:  # Python reads no integer of more than 4,300 digits
        raise MalformedRequestError("the body holds a number of too many digits") from None
    if not isinstance(document, dict):
        raise MalformedRequestError("the body must be a JSON object")
    return document


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
