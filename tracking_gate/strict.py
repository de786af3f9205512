"""Requests that change something, read in exactly one way. MLflow reads many of them in several (a version `"01"`, a stage in any case,
keys that come twice, JSON within JSON): what is not plain is refused, and what is forwarded is written by us."""

import json
import re
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


def path_of(raw: str) -> str:
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


def forwarded_path(path: str) -> str:
    """The one way to write a path."""
    return quote(path, safe=PATH_CHARACTERS)


def query_of(raw: str) -> dict[str, str]:
    """The query's keys, each of which comes once. Raises InvalidRequest."""
    try:
        pairs = parse_qsl(raw, keep_blank_values=True, strict_parsing=bool(raw), errors="strict")
    except ValueError as error:
        raise InvalidRequest("the query is not of the form key=value") from error
    query = dict(pairs)
    if len(query) != len(pairs):
        raise InvalidRequest("a key of the query comes twice")
    return query


def body_of(body: bytes, headers: Mapping[str, str], fields: Mapping[str, Field]) -> Json:
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


def _parsed(body: bytes) -> Json:
    try:
        parsed = json.loads(body.decode("utf-8"), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
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
        double = next(key for index, (key, _) in enumerate(pairs) if key in dict(pairs[:index]))
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
    if not isinstance(value, list) or not all(isinstance(tag, dict) and tag.keys() <= {"key", "value"} and "key" in tag for tag in value):
        raise InvalidRequest(f'{key} must be a list of {{"key": ..., "value": ...}}')
    found = [{"key": text(f"{key}.key", tag["key"]), "value": text(f"{key}.value", tag.get("value", ""))} for tag in value]
    if len({tag["key"] for tag in found}) != len(found):
        raise InvalidRequest(f"a key of {key} comes twice")
    return found


def listed(key: str, value: Any) -> list[Json]:
    """Objects that MLflow reads itself and that decide nothing here."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise InvalidRequest(f"{key} must be a list of objects")
    return value


NAME: Final = Field(read=name)
VERSION_FIELD: Final = Field(read=version)
KEY: Final = Field(read=text)
TEXT: Final = Field(read=text)
OPTIONAL: Final = Field(read=text, required=False)
TAGS: Final = Field(read=tags, required=False)
OF_VERSION: Final = {"name": NAME, "version": VERSION_FIELD}
OPERATIONS: Final[Mapping[str, Mapping[str, Field]]] = {
    "transition_stage": {**OF_VERSION, "stage": Field(read=stage), "archive_existing_versions": Field(read=flag, required=False)},
    "set_alias": {**OF_VERSION, "alias": Field(read=alias)},
    "delete_alias": {"name": NAME, "alias": Field(read=alias)},
    "set_version_tag": {**OF_VERSION, "key": KEY, "value": OPTIONAL},
    "delete_version_tag": {**OF_VERSION, "key": KEY},
    "set_model_tag": {"name": NAME, "key": KEY, "value": OPTIONAL},
    "delete_model_tag": {"name": NAME, "key": KEY},
    "create_model": {"name": NAME, "tags": TAGS, "description": OPTIONAL, "deployment_job_id": OPTIONAL},
    "update_model": {"name": NAME, "description": OPTIONAL, "deployment_job_id": OPTIONAL},
    "rename_model": {"name": NAME, "new_name": NAME},
    "delete_model": {"name": NAME},
    "latest_versions": {"name": NAME, "stages": Field(read=texts, required=False)},
    "create_version": {
        "name": NAME,
        "source": TEXT,
        "run_id": OPTIONAL,
        "model_id": OPTIONAL,
        "tags": TAGS,
        "run_link": OPTIONAL,
        "description": OPTIONAL,
    },
    "update_version": {**OF_VERSION, "description": OPTIONAL},
    "delete_version": OF_VERSION,
    "create_experiment": {"name": TEXT, "artifact_location": OPTIONAL, "tags": TAGS},
    "set_experiment_tag": {"experiment_id": TEXT, "key": KEY, "value": OPTIONAL},
    "delete_experiment_tag": {"experiment_id": TEXT, "key": KEY},
    "delete_experiment": {"experiment_id": TEXT},
    "delete_run": {"run_id": TEXT},
    "search_logged_models": {
        "experiment_ids": Field(read=texts, required=False),
        "filter": OPTIONAL,
        "datasets": Field(read=listed, required=False),
        "max_results": Field(read=number, required=False),
        "order_by": Field(read=listed, required=False),
        "page_token": OPTIONAL,
    },
}
