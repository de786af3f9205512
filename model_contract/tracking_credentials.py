"""Credentials for MLflow, read as MLflow's client reads them, from the tracking URI and the environment.

user and password of the URI > MLFLOW_TRACKING_USERNAME and _PASSWORD, each else from ~/.mlflow/credentials >
MLFLOW_TRACKING_TOKEN
"""

import base64
import configparser
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from model_contract.names import TRACKING_PASSWORD, TRACKING_TOKEN, TRACKING_URI, TRACKING_USERNAME
from model_contract.secret import Secret

CREDENTIALS_FILE: Final = ".mlflow/credentials"
SECTION: Final = "mlflow"
LARGEST_FILE: Final = 1 << 16
# Settings of MLflow's client that are refused: a request without them would have another identity.
UNSUPPORTED: Final = ("MLFLOW_TRACKING_AUTH", "MLFLOW_TRACKING_AWS_SIGV4")
OFF: Final = {"", "0", "false"}
KEPT_CREDENTIALS: Final = 4  # credentials that were sent and replaced


class CredentialError(ValueError):
    """A credential cannot be sent. The message names its variable or file, and never its value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """The value of the Authorization header. `title` names it in messages; `secrets` must not be printed."""

    authorization: Secret
    title: str
    secrets: tuple[Secret, ...]

    def current(self) -> "Credential":
        """Return the credential to send now."""
        return self

    def redacted(self, text: str) -> str:
        """Return `text` with asterisks in place of the secrets."""
        for secret in self.secrets:
            text = text.replace(secret.reveal(), "***")
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewedCredential(Credential):
    """A credential that is replaced during a run: `read` returns the current one, for each request."""

    read: Callable[[], Credential]
    former: list[Credential] = field(default_factory=list)  # the last ones that were sent, newest last

    @classmethod
    def of(cls, read: Callable[[], Credential]) -> "RenewedCredential":
        """Read it for the first time. Raises as `read` does."""
        first = read()
        return cls(authorization=first.authorization, title=first.title, secrets=first.secrets, read=read)

    def current(self) -> Credential:
        """Return the credential to send now. Raises as `read` does."""
        found = self.read()
        if not self.former or self.former[-1].authorization.reveal() != found.authorization.reveal():
            self.former.append(found)
            del self.former[:-KEPT_CREDENTIALS]
        return found

    def redacted(self, text: str) -> str:
        """Return `text` without the current secrets, and without those of requests that may still be answered."""
        for credential in self.former:
            text = credential.redacted(text)
        return Credential.redacted(self, text)


def bearer(token: Secret, title: str) -> Credential:
    """Return the credential of a token."""
    return Credential(authorization=Secret(f"Bearer {token.reveal()}"), title=title, secrets=(token,))


def basic(user: str, password: str, title: str) -> Credential:
    """Return the credential of a user and a password, as `requests` writes it for MLflow's client."""
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    secrets = tuple(Secret(text) for text in (pair, password) if text)
    return Credential(authorization=Secret(f"Basic {pair}"), title=title, secrets=secrets)


def environment_credential(environ: Mapping[str, str], uri: str | None = None) -> Credential | None:
    """Return the credential that MLflow's client would send; None if nothing is set. Raises CredentialError."""
    for name in UNSUPPORTED:
        if environ.get(name, "").strip().lower() not in OFF:
            raise CredentialError(f"{name} is set, which is not supported; set a token, or a user and a password")
    return _of_uri(uri or environ.get(TRACKING_URI) or "") or _of_user(environ) or _of_token(environ)


def without_user_info(uri: str) -> str:
    """Return the URI without the user and the password that it may hold."""
    scheme, separator, rest = uri.partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def token_of(name: str, text: str) -> Secret | None:
    """Return the token without white space at its ends; None if it is empty. Raises CredentialError.

    Tokens often end with a line break, for which HTTP libraries refuse the header, and print it.
    """
    text = text.strip()
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise CredentialError(f"{name} holds characters that a token cannot have")
    return Secret(text)


def _of_uri(uri: str) -> Credential | None:
    try:
        parts = urlsplit(uri)
    except ValueError:
        return None
    if parts.username is None or parts.password is None or not (parts.username or parts.password):
        return None  # `requests`, by which MLflow's client reads the address, takes both or neither
    user, password = unquote(parts.username), unquote(parts.password)
    return basic(user, password, f"the user and password in {TRACKING_URI}")


def _of_user(environ: Mapping[str, str]) -> Credential | None:
    user, password = (environ.get(name, "") for name in (TRACKING_USERNAME, TRACKING_PASSWORD))
    if not (user and password):
        stored = _stored(environ.get("HOME", ""))
        user, password = (
            user or stored.get(TRACKING_USERNAME.lower(), ""),
            password or stored.get(TRACKING_PASSWORD.lower(), ""),
        )
    if not (user and password):
        return None  # MLflow's client takes both or neither
    return basic(user, password, f"the user and password of {TRACKING_USERNAME} and {TRACKING_PASSWORD}")


def _of_token(environ: Mapping[str, str]) -> Credential | None:
    token = token_of(TRACKING_TOKEN, environ.get(TRACKING_TOKEN, ""))
    return bearer(token, f"the token of {TRACKING_TOKEN}") if token else None


def _stored(home: str) -> Mapping[str, str]:
    """Return the content of ~/.mlflow/credentials, a file that only people's machines have."""
    path = Path(home) / CREDENTIALS_FILE
    try:
        if not home or not path.is_file():
            return {}
        with path.open("rb") as content:
            text = content.read(LARGEST_FILE).decode("utf-8")
        config = configparser.ConfigParser(interpolation=None)
        config.read_string(text)
    except (OSError, ValueError, configparser.Error):
        raise CredentialError(
            f"~/{CREDENTIALS_FILE} cannot be read; it must have a section [{SECTION}] as MLflow writes it"
        ) from None
    return dict(config[SECTION]) if SECTION in config else {}
