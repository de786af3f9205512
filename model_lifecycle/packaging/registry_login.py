"""The login that a registry asks for: Basic, or a token of its token server (distribution: "Token Authentication")."""

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import requests

from model_contract.retry_after import retry_after
from model_contract.temporary_status import is_temporary
from model_lifecycle.errors import InvalidError, UnavailableError
from model_lifecycle.http_client import cause_of_failure, error_of, peer_of
from model_lifecycle.packaging.login_file import Login

CLIENT: Final = "model-api"
REFUSED: Final = {400, 401, 403}  # RFC 6749, 5.2 has 400 for a refresh token that has ended
# RFC 9110, 11.6.1: a parameter with its value, in quotes or not, or the name of the next scheme.
CHALLENGE: Final = re.compile(r"""([\w!#$%&'*+.^`|~-]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]*)))?""")


class RegistryLogin:
    """The header `Authorization` for a registry, which follows its challenges."""

    def __init__(self, registry: str, login: Login, session: requests.Session, verify: str | bool) -> None:
        self._registry, self._login, self._session, self._verify = registry, login, session, verify
        self._header: dict[str, str] = {}

    @property
    def header(self) -> Mapping[str, str]:
        return self._header

    def renew(self, challenge: str, *, plain: bool) -> bool:
        """Follow a challenge; return False if there is no other login to try. Raises LifecycleError.

        `plain` allows a token server without TLS.
        """
        former, offered = self._header, challenges(challenge)
        self._header = {}
        if realm := offered.get("bearer", {}).get("realm"):
            if not plain and urlsplit(realm).scheme.lower() != "https":
                raise InvalidError(f"the registry {self._registry} asks for the login without TLS")
            if token := self._token(realm, offered["bearer"]):
                self._header = {"Authorization": f"Bearer {token}"}
        elif "basic" in offered:
            if self._login.basic:
                self._header = {"Authorization": f"Basic {self._login.basic}"}
            return bool(self._header) and self._header != former
        elif challenge:
            raise InvalidError(f"the registry {self._registry} asks for a login by an unknown method")
        return bool(self._header)

    def _token(self, realm: str, parameters: Mapping[str, str]) -> str | None:
        """Return a token; None if the login is refused."""
        asked = {name: parameters.get(name) for name in ("service", "scope")}
        try:
            answer = self._answer(realm, {name: value for name, value in asked.items() if value})
        except requests.exceptions.RequestException as error:
            peer = peer_of(f"the token server of the registry {self._registry}", realm, "--to")
            raise error_of(cause_of_failure(error, peer)) from error
        if answer.status_code in REFUSED:
            return None
        said = f"the token server of the registry {self._registry} answers"
        if is_temporary(answer.status_code):
            raise UnavailableError(
                f"{said} {answer.status_code}", retry_after=retry_after(answer.headers.get("Retry-After"))
            )
        found = _json(answer) if answer.ok else {}
        # Either name; a refresh token is answered by the second one.
        if token := found.get("token") or found.get("access_token"):
            return str(token)
        raise InvalidError(f"{said} {answer.status_code} without a token")

    def _answer(self, realm: str, asked: Mapping[str, str]) -> requests.Response:
        if refresh := self._login.refresh_token:
            form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": CLIENT, **asked}
            # A form would follow a redirect to another host; the header of a GET does not.
            return self._session.post(realm, data=form, verify=self._verify, allow_redirects=False)
        basic = {"Authorization": f"Basic {self._login.basic}"} if self._login.basic else {}
        return self._session.get(realm, params=asked, headers=basic, verify=self._verify)


def challenges(text: str) -> dict[str, dict[str, str]]:
    """Return the parameters of each scheme of the headers `WWW-Authenticate`; names are in small letters."""
    found: dict[str, dict[str, str]] = {}
    parameters: dict[str, str] = {}
    for match in CHALLENGE.finditer(text):
        name, quoted, plain = match.groups()
        if quoted is None and plain is None:
            parameters = found.setdefault(name.lower(), {})
        else:
            value = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            parameters.setdefault(name.lower(), value)
    return found


def _json(answer: requests.Response) -> Mapping[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
