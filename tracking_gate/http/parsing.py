"""Requests that change something, read in exactly one way. MLflow reads many of them in several (a version `"01"`, a
stage in any case,
keys that come twice, JSON within JSON): what is not plain is refused, and what is forwarded is written by us."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from tracking_gate.errors import InvalidRequest

Json = dict[str, Any]
STAGES: Final = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}
VERSION: Final = re.compile(r"[1-9][0-9]{0,9}")
ALIAS: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
LONGEST_NAME: Final = 256
CONTENT_TYPE: Final = re.compile(r'application/json(?:\s*;\s*charset="?utf-8"?)?', re.IGNORECASE)
# RFC 3986: characters that a path may hold as they are; MLflow's names and artifacts may hold any other, as %XX.
PATH_CHARACTERS: Final = "/!$&'()*+,:=@~-._"


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One key of a body: what it must be, and how it is forwarded."""

    read: Callable[[str, Any], Any]
    required: bool = True


def decoded_path(raw: str) -> str:
    """The decoded path of a request. Raises InvalidRequest where others could read another one."""
    if re.search(r"[^\x21-\x7e]", raw):
        raise InvalidRequest("the path holds characters that belong written as %XX")
    if re.search(r"%(?:2[fF]|5[cC]|00)|;|\\", raw) or "//" in raw:
        raise InvalidRequest("the path holds //, ; or an encoded separator")
    try:
        path = unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("the path is not UTF-8") from error
    if re.search(r"%[0-9a-fA-F]{2}", path):  # MLflow decodes the paths of artifacts until nothing is left to decode
        raise InvalidRequest("the path is encoded twice")
    if any(segment in {".", ".."} for segment in path.split("/")):
        raise InvalidRequest("the path holds . or .. as a segment")
    if re.search(r"[\x00-\x1f\x7f]", path):
        raise InvalidRequest("the path holds a control character")
    return path


def encoded_path(path: str) -> str:
    """The one way to write a path."""
    return quote(path, safe=PATH_CHARACTERS)


def parsed_query(raw: str) -> dict[str, str]:
    """The query's keys, each of which comes once. Raises InvalidRequest."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except ValueError as error:
        raise InvalidRequest("the query is not of the form key=value") from error
    query = dict(pairs)
    if len(query) != len(pairs):
        raise InvalidRequest("a key of the query comes twice")
    return query


def parsed_body(body: bytes, headers: Mapping[str, str], fields: Mapping[str, Field]) -> Json:
    """The body's fields, checked. Raises InvalidRequest, which names the field."""
    if not CONTENT_TYPE.fullmatch(headers.get("Content-Type", "")):
        raise InvalidRequest("Content-Type must be application/json")
    if "Content-Encoding" in headers:
        raise InvalidRequest("Content-Encoding is not supported here")
    given = _parsed(body)
    for key in given:
        if key not in fields:
            raise InvalidRequest(f"unknown field {key!r:.60}")
    for key, field in fields.items():
        if field.required and key not in given:
            raise InvalidRequest(f"{key} is missing")
    return {key: fields[key].read(key, value) for key, value in given.items()}


def parsed_object(body: bytes, headers: Mapping[str, str]) -> Json:
    """Return a JSON object whose fields are not all known: those of a newer MLflow are let through. Raise
    InvalidRequest.
    """
    if not body:
        return {}
    if not CONTENT_TYPE.fullmatch(headers.get("Content-Type", "")):
        raise InvalidRequest("Content-Type must be application/json")
    if "Content-Encoding" in headers:
        raise InvalidRequest("Content-Encoding is not supported here")
    return _parsed(body, constants=True)


def values_at(found: Any, path: Sequence[str]) -> list[Any]:
    """Return what stands at a path of keys, `*` for each item of a list.

    Raise InvalidRequest for another spelling of a key: MLflow reads `runId` as it reads `run_id`.
    """
    if not path:
        return [] if found is None else [found]
    if path[0] == "*":
        items = found if isinstance(found, list) else [found]
        return [value for item in items for value in values_at(item, path[1:])]
    if not isinstance(found, dict):
        raise InvalidRequest(f"{path[0]} is missing: its place holds no object")
    for key in found:
        if key != path[0] and key.replace("_", "").casefold() == path[0].replace("_", "").casefold():
            raise InvalidRequest(f"write {path[0]}, not {key!r:.60}")
    return values_at(found[path[0]], path[1:]) if path[0] in found else []


def _parsed(body: bytes, *, constants: bool = False) -> Json:
    """`constants` lets NaN and Infinity through, which metrics may be."""
    try:
        parsed = json.loads(
            body.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=None if constants else _no_constant
        )
    except InvalidRequest:
        raise
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not JSON in UTF-8") from error
    if not isinstance(parsed, dict):
        raise InvalidRequest("the body is not a JSON object")
    return parsed


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        double = next(key for key, count in counts.items() if count > 1)
        raise InvalidRequest(f"the field {double!r:.60} comes twice")
    return found


def _no_constant(name: str) -> None:
    raise InvalidRequest(f"{name} is not JSON")


def text(key: str, value: Any) -> str:
    """Any text that can be written as UTF-8."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string")
    if re.search(r"[\ud800-\udfff]", value):
        raise InvalidRequest(f"{key} holds half of a surrogate pair")
    return value


def name(key: str, value: Any) -> str:
    found = text(key, value)
    if not found or len(found) > LONGEST_NAME or re.search(r"[/:\x00-\x1f\x7f]", found):
        raise InvalidRequest(f"{key} must have 1 to {LONGEST_NAME} characters, and no / : or control character")
    return found


def version(key: str, value: Any) -> str:
    if not VERSION.fullmatch(found := text(key, value)):
        raise InvalidRequest(f'{key} must be a positive number as a string, such as "3"')
    return found


def alias(key: str, value: Any) -> str:
    if not ALIAS.fullmatch(found := text(key, value)):
        raise InvalidRequest(f"{key} must have 1 to 255 letters, digits, _ and -")
    return found


def stage(key: str, value: Any) -> str:
    """In any case, as MLflow takes it; forwarded as MLflow writes it."""
    found = STAGES.get(text(key, value).lower())
    if found is None:
        raise InvalidRequest(f"{key} must be one of {', '.join(STAGES.values())}")
    return found


def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise InvalidRequest(f"{key} must be true or false")
    return value


def number(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidRequest(f"{key} must be a whole number")
    return value


def texts(key: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise InvalidRequest(f"{key} must be a list of strings")
    return [text(key, item) for item in value]


def tags(key: str, value: Any) -> list[Json]:
    """`[{"key": ..., "value": ...}]`, each key once."""
    if not isinstance(value, list) or not all(
        isinstance(tag, dict) and tag.keys() <= {"key", "value"} and "key" in tag for tag in value
    ):
        raise InvalidRequest(f'{key} must be a list of {{"key": ..., "value": ...}}')
    found = [
        {"key": text(f"{key}.key", tag["key"]), "value": text(f"{key}.value", tag.get("value", ""))} for tag in value
    ]
    if len({tag["key"] for tag in found}) != len(found):
        raise InvalidRequest(f"a key of {key} comes twice")
    return found


def listed(key: str, value: Any) -> list[Json]:
    """Objects that MLflow reads itself and that decide nothing here."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{key} must be a list of objects")
    return value
