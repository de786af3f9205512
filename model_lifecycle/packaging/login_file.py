"""The file with the logins of registries, which `docker login` and `podman login` write."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from model_lifecycle.errors import InvalidError

AUTH_FILE: Final = "REGISTRY_AUTH_FILE"
DOCKER_CONFIG: Final = "DOCKER_CONFIG"
LARGEST: Final = 1 << 20  # bytes


def login_file(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the login file: REGISTRY_AUTH_FILE > DOCKER_CONFIG > ~/.docker/config.json. Raises InvalidError."""
    if named := environ.get(AUTH_FILE):
        name, file = AUTH_FILE, Path(named)
    elif named := environ.get(DOCKER_CONFIG):
        name, file = DOCKER_CONFIG, Path(named) / "config.json"
    else:
        name, file = "HOME", Path(environ.get("HOME") or "/nonexistent") / ".docker" / "config.json"
    try:
        with file.open("rb") as content:
            found = json.loads(content.read(LARGEST))
    except FileNotFoundError:
        found = {}
    except (OSError, ValueError) as error:
        raise InvalidError(f"{file}, the login file of {name}, cannot be read: {_reason(error)}") from None
    if not _is_configuration(found):
        raise InvalidError(f"{file}, the login file of {name}, is no configuration of Docker")
    return {
        "auths": found.get("auths", {}),
        "credHelpers": found.get("credHelpers", {}),
        "credsStore": found.get("credsStore"),
    }


def _is_configuration(found: Any) -> bool:
    """Return True if the parts that oras reads have their types."""
    if not isinstance(found, dict) or not isinstance(found.get("credsStore") or "", str):
        return False
    auths, helpers = found.get("auths", {}), found.get("credHelpers", {})
    return (
        isinstance(auths, dict)
        and isinstance(helpers, dict)
        and all(isinstance(entry, dict) for entry in auths.values())
        and all(isinstance(name, str) for name in helpers.values())
    )


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is not JSON"
