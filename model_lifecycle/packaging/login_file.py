"""The login of a registry in the file that `docker login`, `podman login` and `az acr login` write."""

import base64
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from model_contract.image_reference import ImageReference
from model_lifecycle.errors import InvalidError

AUTH_FILE: Final = "REGISTRY_AUTH_FILE"
DOCKER_CONFIG: Final = "DOCKER_CONFIG"
LARGEST: Final = 1 << 20  # bytes
# Docker Hub: the name in references of images, the server that it stands for, and the name of its login.
HUB: Final = "docker.io"
HUB_SERVER: Final = "registry-1.docker.io"
HUB_LOGIN: Final = "https://index.docker.io/v1/"
FIELDS: Final = ("auth", "identitytoken", "username", "password")  # of an entry
LOOPBACK: Final = ("localhost", "127.0.0.1")  # a login for one name is one for the other


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """A login: user and password as Basic authentication has them, a refresh token, or who is to be asked for one.

    `helper` is the name of a credential helper, without `docker-credential-`, and the name to ask it for.
    """

    basic: str | None = None
    refresh_token: str | None = None
    helper: tuple[str, str] | None = None


def server_of(registry: str) -> str:
    """Return the host of the registry of that name."""
    return HUB_SERVER if registry == HUB else registry


def login_of(reference: ImageReference, environ: Mapping[str, str]) -> Login:
    """Return the login for a repository; an empty one if there is none. Raises InvalidError."""
    content = login_file(environ)
    entries = {_without_scheme(key): entry for key, entry in content["auths"].items()}
    found = [entry for name in _names(reference) if (entry := entries.get(_without_scheme(name)))]
    if login := next((login for login in map(_written, found) if login), None):
        return login
    if helper := next(
        ((helper, name) for name in _names(reference) if (helper := content["credHelpers"].get(name))), None
    ):
        return Login(helper=helper)
    asked = HUB_LOGIN if reference.registry == HUB else reference.registry
    return Login(helper=(content["credsStore"], asked)) if content["credsStore"] else Login()


def _names(reference: ImageReference) -> Iterator[str]:
    """Yield the names that a login of the repository may have, the most exact one first: podman's may have a path."""
    parts = reference.repository.split("/")
    yield from (f"{reference.registry}/{'/'.join(parts[:count])}" for count in range(len(parts), 0, -1))
    yield reference.registry
    if reference.registry == HUB:
        yield from (HUB_LOGIN, "index.docker.io", HUB_SERVER)
    for one, other in (LOOPBACK, LOOPBACK[::-1]):
        if reference.registry.partition(":")[0] == one:
            yield reference.registry.replace(one, other)


def _without_scheme(name: str) -> str:
    """Return a name without what Docker has written around it: https://registry.example/v2/."""
    return name.partition("://")[2].partition("/")[0] if "://" in name else name


def _written(entry: Mapping[str, Any]) -> Login | None:
    """Return the login of an entry; None if it has none, which then is at a credential helper."""
    if token := entry.get("identitytoken"):
        return Login(refresh_token=token)
    if auth := entry.get("auth"):
        return Login(basic=auth)
    user, password = entry.get("username"), entry.get("password")
    return Login(basic=base64.b64encode(f"{user}:{password}".encode()).decode()) if user and password else None


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
    """Return True if the parts that are read have their types."""
    if not isinstance(found, dict) or not isinstance(found.get("credsStore") or "", str):
        return False
    auths, helpers = found.get("auths", {}), found.get("credHelpers", {})
    return (
        isinstance(auths, dict)
        and isinstance(helpers, dict)
        and all(isinstance(entry, dict) and all(map(_is_text, map(entry.get, FIELDS))) for entry in auths.values())
        and all(isinstance(name, str) for name in helpers.values())
    )


def _is_text(value: object) -> bool:
    return value is None or isinstance(value, str)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or "it is not JSON"
