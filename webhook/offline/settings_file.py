"""The webhook's settings from a file: lines of KEY=VALUE, or the ConfigMap that the deployment reads."""

from pathlib import Path
from typing import Any

from webhook.offline.documents import DocumentError, read_documents


def read(path: Path) -> dict[str, str]:
    """Raises DocumentError."""
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DocumentError(
            f"{path} cannot be read: {error.strerror if isinstance(error, OSError) else 'it is not UTF-8'}"
        ) from None
    return _config_map(path) if any(line.startswith("kind:") for line in text.splitlines()) else _lines(text, path)


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
    found: list[dict[str, Any]] = [
        document.content for document in read_documents(str(path)) if document.content["kind"] == "ConfigMap"
    ]
    if len(found) != 1:
        raise DocumentError(f"{path} holds {len(found)} ConfigMaps; it must hold the one with the webhook's settings")
    data = found[0].get("data") or {}
    if not isinstance(data, dict) or not all(isinstance(value, str) for value in data.values()):
        raise DocumentError(f"{path}: a value of the ConfigMap is no string")
    return data
