"""The address of Domino and the caller's credential, from options and the variables of a workspace."""

import base64
import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import httpx2

from model_contract.secret import Secret
from model_lifecycle.errors import InvalidError, NotAuthorisedError, UnavailableError

PROXY: Final = "DOMINO_API_PROXY"
HOST: Final = "DOMINO_API_HOST"
USER_HOST: Final = "DOMINO_USER_HOST"
API_KEY: Final = "DOMINO_USER_API_KEY"
TOKEN_FILE: Final = "DOMINO_TOKEN_FILE"
MODEL_TOKEN: Final = "DOMINO_MODEL_API_TOKEN"
ACCESS_TOKEN_URL: Final = "http://localhost:8899/access-token"  # of a run's sidecar
TOKEN_TIMEOUT: Final = 10.0  # seconds


class Credential(Protocol):
    """The headers of each request, and the secrets in them, which must not be printed."""

    def headers(self) -> Mapping[str, str]:
        """Return the headers. Raises LifecycleError if there is no credential."""

    def secrets(self) -> tuple[Secret, ...]: ...


@dataclass(frozen=True, slots=True)
class ProxyCredential:
    """No headers: the proxy of a run adds the caller itself."""

    def headers(self) -> Mapping[str, str]:
        return {}

    def secrets(self) -> tuple[Secret, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class ApiKey:
    """The API key, which Domino calls legacy and every version takes."""

    key: Secret

    def headers(self) -> Mapping[str, str]:
        return {"X-Domino-Api-Key": self.key.reveal()}

    def secrets(self) -> tuple[Secret, ...]:
        return (self.key,)


class TokenFile:
    """A token in a file, read for each request: Domino replaces the file before the token ends."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last: tuple[Secret, ...] = ()

    def headers(self) -> Mapping[str, str]:
        try:
            token = Secret.from_file(self._path)
        except OSError as error:
            raise InvalidError(f"{TOKEN_FILE} names a file that cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InvalidError(f"{TOKEN_FILE} cannot be used: {error}") from error
        self._last = (token,)
        return _bearer(token)

    def secrets(self) -> tuple[Secret, ...]:
        return self._last


class AccessToken:
    """A token of the run's sidecar, new for each request: it ends after five minutes."""

    def __init__(self, url: str = ACCESS_TOKEN_URL) -> None:
        self._url = url
        self._last: tuple[Secret, ...] = ()

    def headers(self) -> Mapping[str, str]:
        try:
            answer = httpx2.get(self._url, timeout=TOKEN_TIMEOUT, trust_env=False)
        except httpx2.TransportError as error:
            raise NotAuthorisedError(
                f"there is no credential for Domino: no {API_KEY}, no {TOKEN_FILE} and no {PROXY}, and this is no"
                " workspace of Domino"
            ) from error
        if answer.status_code != httpx2.codes.OK or not answer.text.strip():
            raise UnavailableError(f"the workspace gives no access token: {self._url} answered {answer.status_code}")
        token = Secret(answer.text.strip())
        self._last = (token,)
        return _bearer(token)

    def secrets(self) -> tuple[Secret, ...]:
        return self._last


@dataclass(frozen=True, slots=True, kw_only=True)
class DominoAccess:
    """Addresses of Domino, and the caller.

    `uri` is the API's, `public_uri` the one for people and callers of models. `model_token` is a model API's own.
    """

    uri: str
    public_uri: str
    credential: Credential
    model_token: Secret | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], *, uri: str | None = None) -> "DominoAccess":
        """Return the address (option > proxy > host) and the caller (proxy > file > key > the run's token).

        Raises InvalidError.
        """
        proxy = None if uri else environ.get(PROXY)
        given = {"--domino-url": uri} if uri else {name: environ.get(name) for name in (PROXY, HOST, USER_HOST)}
        address = _first(given, (PROXY, HOST, USER_HOST, "--domino-url"))
        public = _first(given, (USER_HOST, HOST, PROXY, "--domino-url"))
        if not (address and public):
            raise InvalidError(f"Domino's address is not known: set {HOST}, or name it with --domino-url")
        return cls(
            uri=checked_uri(*address),
            public_uri=checked_uri(*public),
            credential=ProxyCredential() if proxy else _credential(environ),
            model_token=_secret(MODEL_TOKEN, environ),
        )

    def authorization_of_call(self, url: str) -> "Header":
        """Return the headers for a call of a model API: its token twice, as Domino wants it.

        Without a token Domino's own credential is sent, only to Domino's address.
        """
        if self.model_token:
            token = self.model_token.reveal()
            return Header({"Authorization": "Basic " + base64.b64encode(f"{token}:{token}".encode()).decode()})
        return (
            Header(self.credential.headers())
            if _origin(url) in {_origin(self.uri), _origin(self.public_uri)}
            else Header({})
        )

    def redacted(self, text: str) -> str:
        """Return the text without the secrets."""
        for secret in (*self.credential.secrets(), *([self.model_token] if self.model_token else [])):
            text = text.replace(secret.reveal(), "***")
        return text


@dataclass(frozen=True, slots=True)
class Header(httpx2.Auth):
    """Headers of a request; they keep httpx from looking for a password in ~/.netrc."""

    values: Mapping[str, str]

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers.update(self.values)
        yield request


def _first(given: Mapping[str, str | None], names: Sequence[str]) -> tuple[str, str] | None:
    """Return the first of these that is set, and its name."""
    return next(((value, name) for name in names if (value := given.get(name))), None)


def checked_uri(uri: str, name: str) -> str:
    """Return the address without the slash at its end; `name` is its variable or option. Raises InvalidError."""
    uri = uri.strip().rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", uri) or not _is_address(uri):
        raise InvalidError(
            f"Domino's address must be such as https://domino.example.com, without user, password and query ({name})"
        )
    return uri


def _is_address(uri: str) -> bool:
    """Return False if the host or the port is not valid."""
    try:
        return bool(httpx2.URL(uri).host) and urlsplit(uri).port != 0
    except (httpx2.InvalidURL, ValueError, UnicodeError):
        return False


def _credential(environ: Mapping[str, str]) -> Credential:
    if path := environ.get(TOKEN_FILE):
        return TokenFile(Path(path))
    if key := _secret(API_KEY, environ):
        return ApiKey(key)
    return AccessToken()


def _secret(name: str, environ: Mapping[str, str]) -> Secret | None:
    """Return the secret without a line break at its end: HTTP libraries refuse the break, and print the header."""
    value = environ.get(name, "").strip()
    if not value:
        return None
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidError(f"{name} holds characters that no key has")
    return Secret(value)


def _bearer(token: Secret) -> Mapping[str, str]:
    return {"Authorization": f"Bearer {token.reveal()}"}


def _origin(url: str) -> tuple[str, str, int | None]:
    parsed = httpx2.URL(url)
    return parsed.scheme, parsed.host, parsed.port
