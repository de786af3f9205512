"""Readers of the fields of guarded operations: each accepts one kind of value or raises InvalidRequest."""

import re
from typing import Any, Final

from tracking_gate.errors import InvalidRequest

Json = dict[str, Any]
STAGES: Final = {stage.lower(): stage for stage in ("None", "Staging", "Production", "Archived")}
VERSION: Final = re.compile(r"[1-9][0-9]{0,9}")
ALIAS: Final = re.compile(r"[A-Za-z0-9_-]{1,255}")
MAX_NAME: Final = 256


def text(key: str, value: Any) -> str:
    """Accept a text that UTF-8 can hold."""
    if not isinstance(value, str):
        raise InvalidRequest(f"{key} must be a string")
    if re.search(r"[\ud800-\udfff]", value):
        raise InvalidRequest(f"{key} holds half of a surrogate pair")
    return value


def name(key: str, value: Any) -> str:
    found = text(key, value)
    if not found or len(found) > MAX_NAME or re.search(r"[/:\x00-\x1f\x7f]", found):
        raise InvalidRequest(f"{key} must have 1 to {MAX_NAME} characters, and no / : or control character")
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
    """Accept a stage in upper or lower case, as MLflow does, and return it as MLflow writes it."""
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
    """Accept `[{"key": ..., "value": ...}]` with each key once."""
    if not isinstance(value, list) or not all(
        isinstance(tag, dict) and tag.keys() <= {"key", "value"} and "key" in tag for tag in value
    ):
        raise InvalidRequest(f'{key} must be a list of {{"key": ..., "value": ...}}')
    found = [
        {
            "key": text(f"{key}.key", tag["key"]),
            "value": text(f"{key}.value", "" if tag.get("value") is None else tag["value"]),
        }
        for tag in value
    ]
    if len({tag["key"] for tag in found}) != len(found):
        raise InvalidRequest(f"a key of {key} comes twice")
    return found


def objects(key: str, value: Any) -> list[Json]:
    """Accept a list of objects that no rule of the gate reads."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{key} must be a list of objects")
    return value
