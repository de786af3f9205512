"""Files that the commands read: Kubernetes objects in YAML as kubectl reads it, and the webhook's settings."""

import codecs
import json
import re
import sys
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any, Final

import yaml

from webhook.cli_errors import DocumentError
from webhook.offline.yaml_text import ManifestLoader

STANDARD_INPUT: Final = "-"
NOT_SPACE: Final = re.compile(r"\S")
HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")
# Values for each character of a file: below 1 without aliases, which repeat values and can make billions of ten lines.
MOST_VALUES: Final = 10
DEEPEST: Final = 100  # levels; a pod has about 12, a CustomResourceDefinition some 50, and a reader's stack a thousand


def read_objects(filename: str) -> list[dict[str, Any]]:
    """Return every object of a file. Raises DocumentError."""
    title = "standard input" if filename == STANDARD_INPUT else filename
    try:
        text = _decoded(sys.stdin.buffer.read() if filename == STANDARD_INPUT else Path(filename).read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"{title} cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        ) from None
    try:
        objects = list(_json_objects(text, title) or _objects(text, title))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{title}:{mark.line + 1}:{mark.column + 1}" if mark else title
        raise DocumentError(f"{where}: {error.problem}") from None
    except RecursionError:
        raise DocumentError(f"{title}: nested too deep") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise DocumentError(f"{title}: {' '.join(str(error).split())}") from None
    if not objects:
        raise DocumentError(f"{title} holds no object")
    return objects


def _decoded(content: bytes) -> str:
    """Return the text as kubectl reads it: UTF-8 in any locale, or UTF-16 with its mark, as PowerShell writes it."""
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig")


def _json_objects(text: str, title: str) -> list[dict[str, Any]]:
    """Return the objects of JSON, one or many behind each other, as kubectl reads them; none if it is no JSON.

    Most JSON is YAML, too, but not if tabs indent it, or if no `---` is between two objects.
    """
    found: list[dict[str, Any]] = []
    start = _skip_space(text, 0)
    while text.startswith("{", start):
        try:
            content, end = JSON.raw_decode(text, start)
        except json.JSONDecodeError:
            return []
        found.append(_checked(_as_json(content, iter(text)), title, text.count("\n", 0, start) + 1))
        start = _skip_space(text, end)
    return [] if start < len(text) else found


def _skip_space(text: str, start: int) -> int:
    found = NOT_SPACE.search(text, start)
    return found.start() if found else len(text)


def _objects(text: str, title: str) -> Iterator[dict[str, Any]]:
    loader = ManifestLoader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            if node is None:
                continue
            line = node.start_mark.line + 1
            content = _as_json(loader.construct_document(node), chain.from_iterable(repeat(text, MOST_VALUES)))
            if content is not None:
                yield _checked(content, title, line)
    finally:
        loader.dispose()


def _checked(content: Any, title: str, line: int) -> dict[str, Any]:
    if not isinstance(content, dict) or not isinstance(content.get("kind"), str):
        raise DocumentError(f"{title}:{line}: this is no Kubernetes object: it has no kind")
    return content


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key} comes twice")
        found[key] = value
    return found


JSON: Final = json.JSONDecoder(object_pairs_hook=_unique_keys)


def _as_json(value: Any, left: Iterator[str], depth: int = 1) -> Any:
    """Return the value as kubectl sends it: each alias is a copy, which is changed alone.

    `left` yields one item for each value that may still come. Raises ValueError.
    """
    if next(left, None) is None:
        raise ValueError("its aliases repeat too much")
    if depth > DEEPEST:
        raise ValueError(f"nested deeper than {DEEPEST} levels")
    if isinstance(value, dict):
        return {_as_json(key, left, depth): _as_json(inner, left, depth + 1) for key, inner in value.items()}
    if isinstance(value, str) and (half := HALF_CHARACTER.search(value)):
        raise ValueError(f"\\u{ord(half[0]):x} is half of a character; write both halves, or the character itself")
    return [_as_json(inner, left, depth + 1) for inner in value] if isinstance(value, list) else value


def read_settings_file(path: Path) -> dict[str, str]:
    """Return the variables in lines of KEY=VALUE, or in the ConfigMap. Raises DocumentError."""
    try:
        text = _decoded(path.read_bytes())
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"{path} cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        ) from None
    is_object = text.lstrip().startswith("{") or any(line.startswith("kind:") for line in text.splitlines())
    return _config_map(path) if is_object else _lines(text, path)


def _lines(text: str, path: Path) -> dict[str, str]:
    values = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        key, equals, value = line.partition("=")
        if not equals or not key.strip().isidentifier():
            raise DocumentError(f"{path}:{number}: this is no line of KEY=VALUE")
        values[key.strip()] = value.strip()
    return values


def _config_map(path: Path) -> dict[str, str]:
    found: list[dict[str, Any]] = [content for content in read_objects(str(path)) if content["kind"] == "ConfigMap"]
    if len(found) != 1:
        raise DocumentError(f"{path} holds {len(found)} ConfigMaps; it must hold the one with the webhook's settings")
    data = found[0].get("data") or {}
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise DocumentError(f"{path}: a value of the ConfigMap is no string")
    return data
