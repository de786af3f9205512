"""Strict parsing of paths, queries and JSON bodies: a request that MLflow could read in two ways is refused.

MLflow accepts keys that come twice, paths that are encoded twice, and fields under two names.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from tracking_gate.errors import InvalidRequest

Json = dict[str, Any]
CONTENT_TYPE: Final = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
# RFC 3986: characters that a path may hold as they are; MLflow's names and artifacts may hold any other, as %XX.
PATH_CHARACTERS: Final = "/!$&'()*+,:=@~-._"
LISTS: Final = frozenset({"order_by", "stages"})  # keys of a query that MLflow reads as lists, and no rule of the gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """A key of a body; `read` takes key and value, and returns the value to forward or raises InvalidRequest."""

    read: Callable[[str, Any], Any]
    required: bool = True


def decoded_path(raw: str) -> str:
    """Return the decoded path of a request. Raises InvalidRequest if MLflow could read another path."""
    if re.search(r"[^\x21-\x7e]", raw):
        raise InvalidRequest("the path holds characters that must be written as %XX")
    if re.search(r"%(?:2[fF]|5[cC]|00)|;|\\", raw) or "//" in raw:
        raise InvalidRequest("the path holds //, ; or an encoded separator")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("the path is not UTF-8") from error
    if re.search(r"%[0-9a-fA-F]{2}", path):  # MLflow decodes the paths of artifacts until nothing is left to decode
        raise InvalidRequest("the path is encoded twice: encode it once")
    if any(segment in {".", ".."} for segment in path.split("/")):
        raise InvalidRequest("the path holds . or .. as a segment")
    if re.search(r"[\x00-\x1f\x7f]", path):
        raise InvalidRequest("the path holds a control character")
    return path


def encoded_path(path: str) -> str:
    """Return the path as the gate forwards it."""
    return quote(path, safe=PATH_CHARACTERS)


def parsed_query(raw: str) -> dict[str, str]:
    """Return the query's keys and values. Raises InvalidRequest if a key comes twice, unless MLflow reads a list."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except ValueError as error:
        raise InvalidRequest("the query is not of the form key=value") from error
    keys = [key for key, _ in pairs if key not in LISTS]
    if len(set(keys)) != len(keys):
        twice = Counter(keys).most_common(1)[0][0]
        raise InvalidRequest(f"the key {twice!r:.60} of the query comes twice: send it once")
    return dict(pairs)


def parsed_body(
    body: bytes, headers: Mapping[str, str], fields: Mapping[str, Field], variables: Mapping[str, str]
) -> Json:
    """Return the fields of the body and of the path, each as its Field reads it; a path may name all of them.

    Raises InvalidRequest, which names the field.
    """
    found = {} if variables and not body else _parsed(body, headers)
    for key in found:
        if key not in fields:
            raise InvalidRequest(f"unknown field {key!r:.60}")
        if key in variables and found[key] not in {None, variables[key]}:
            raise InvalidRequest(f"{key} of the body is not that of the path")
    found |= variables
    given = {key: value for key, value in found.items() if value is not None}  # null leaves a field out, as in MLflow
    for key, field in fields.items():
        if field.required and key not in given:
            raise InvalidRequest(f"{key} is missing")
    return {key: fields[key].read(key, value) for key, value in given.items()}


def parsed_object(body: bytes, headers: Mapping[str, str]) -> Json:
    """Return the body's JSON object, also with fields that only a newer MLflow knows. Raises InvalidRequest."""
    if not body:
        return {}
    return _parsed(body, headers, constants=True)


def check_is_json(headers: Mapping[str, str]) -> None:
    if not CONTENT_TYPE.fullmatch(headers.get("Content-Type", "")):
        raise InvalidRequest("Content-Type must be application/json")
    if "Content-Encoding" in headers:
        raise InvalidRequest("send the body uncompressed: Content-Encoding is not supported here")


def values_at(found: Any, path: Sequence[str], name: str = "the body") -> list[Any]:
    """Return the values at a path of keys. The key `*` means each item of a list; `name` is that of `found`.

    Raises InvalidRequest for another spelling of a key: MLflow reads `runId` as it reads `run_id`.
    """
    if found is None:  # null leaves a field out, as in MLflow
        return []
    if not path:
        return [found]
    if path[0] == "*":
        items = found if isinstance(found, list) else [found]
        return [value for item in items for value in values_at(item, path[1:], f"each of {name}")]
    if not isinstance(found, dict):
        raise InvalidRequest(f"{name} must be an object")
    for key in found:
        if key != path[0] and key.replace("_", "").casefold() == path[0].replace("_", "").casefold():
            raise InvalidRequest(f"write {path[0]}, not {key!r:.60}")
    return values_at(found[path[0]], path[1:], path[0]) if path[0] in found else []


def _parsed(body: bytes, headers: Mapping[str, str], *, constants: bool = False) -> Json:
    """Return the JSON object of a body; `constants` allows NaN and Infinity, which metrics may be."""
    check_is_json(headers)
    try:
        parsed = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=None if constants else _no_constant
        )
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not JSON in UTF-8") from error
    if not isinstance(parsed, dict):
        raise InvalidRequest("the body is not a JSON object")
    return parsed


def _unique_keys(pairs: Sequence[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        double = next(key for key, count in counts.items() if count > 1)
        raise InvalidRequest(f"the field {double!r:.60} comes twice")
    return found


def _no_constant(name: str) -> None:
    raise InvalidRequest(f"{name} is not JSON")
