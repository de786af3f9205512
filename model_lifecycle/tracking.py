"""The address of MLflow and the caller's credentials, from options and the environment."""

import json
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from model_contract.names import TRACKING_URI
from model_contract.secret import Secret
from model_contract.tls import TlsSettingError, check_authorities, names_tls, tls_context
from model_contract.tokens import TokenError, parse_token
from model_contract.tracking_credentials import (
    Credential,
    CredentialError,
    bearer,
    environment_credential,
    token_of,
    without_user_info,
)
from model_lifecycle.errors import InvalidError, NotAuthorisedError
from model_lifecycle.presigned_files import Hosts

URI: Final = re.compile(
    r"https?://(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+)(?::[0-9]{1,5})?(?:/[^\s?#@]*)?", re.ASCII | re.IGNORECASE
)
PROJECT_TOKENS: Final = (
    "PROJECT_TOKENS"  # set by the workflow of domino-mlflow-client: an object of all the repository's secrets
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """The address of an MLflow, or of the gate in front of it, and the caller.

    `tls` is httpx2's `verify`; `timeout` is in seconds for one request; `tries` is the number of times a read is sent.
    `presigned` are the object stores from which files come if MLflow sends none itself.
    """

    uri: str
    authorization: Credential | None = None
    tls: ssl.SSLContext | bool = True
    timeout: float = 30
    tries: int = 4
    presigned: Hosts = field(default_factory=Hosts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The caller's credentials.

    For a project: options > PROJECT_ID_<ID> > PROJECT_TOKENS > those of MLflow's own client. `uri` is the
    tracking URI as it was given, with its user and password; `of_job` the credential that the job's system gives it.
    """

    environ: Mapping[str, str]
    uri: str | None = None
    token_file: Path | None = None
    of_job: Credential | None = None

    def of_project(self, project_id: str) -> Credential | None:
        """Return the credential for a project's objects.

        Raises InvalidError; NotAuthorisedError for another project's token.
        """
        if self.of_job:
            return self.of_job
        if token := self._of_file() or self._of_variables(project_id):
            check_project(token, project_id)
            return bearer(token, f"the token of project {project_id}")
        return self.for_any_project(project_id)

    def for_any_project(self, project_id: str | None = None) -> Credential | None:
        """Return the credential for a caller who names no project yet; None if there is nothing to send."""
        if self.of_job:
            return self.of_job
        if token := self._of_file():
            return bearer(token, "the token of --token-file")
        try:
            found = environment_credential(self.environ, self.uri)
        except CredentialError as error:
            raise InvalidError(str(error)) from error
        sent = found.authorization.reveal() if found else ""
        if project_id and sent.startswith("Bearer "):
            check_project(Secret(sent.removeprefix("Bearer ")), project_id)
        return found

    def _of_file(self) -> Secret | None:
        if self.token_file is None:
            return None
        try:
            return Secret.from_file(self.token_file)
        except OSError as error:
            raise InvalidError(f"--token-file names a file that cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise InvalidError(f"--token-file: {error}") from error

    def _of_variables(self, project_id: str) -> Secret | None:
        name = project_variable(project_id)
        if token := _token(name, self.environ.get(name, "")):
            return token
        if not (text := self.environ.get(PROJECT_TOKENS)):
            return None
        try:
            tokens = {str(key).upper(): value for key, value in json.loads(text).items()}
        except (ValueError, AttributeError):
            raise InvalidError(f"{PROJECT_TOKENS} is no JSON object of secrets; set {name} instead") from None
        return _token(f"{name} in {PROJECT_TOKENS}", str(tokens.get(name, "")))


def project_variable(project_id: str) -> str:
    """Return the name of the variable, and of the GitHub secret, that holds a project's promote token.

    Both may have no hyphens, and an id has no underscores: two ids never have the same name.
    """
    return f"PROJECT_ID_{project_id.upper().replace('-', '_')}"


def check_project(token: Secret, project_id: str) -> None:
    """Raise NotAuthorisedError if a token names another project; a token of another format names none."""
    try:
        named = parse_token(token.reveal()).project_id
    except TokenError:
        return
    if named != project_id:
        raise NotAuthorisedError(
            f"the token is of project {named}, and not of {project_id}: set {project_variable(project_id)}, or take one"
            " project with --only"
        )


def tracking_uri(option: str | None, environ: Mapping[str, str]) -> str:
    """Return the URI without user and password: option > MLFLOW_TRACKING_URI. Raises InvalidError."""
    given = (option or environ.get(TRACKING_URI) or "").strip().rstrip("/")
    uri = without_user_info(given)
    if not URI.fullmatch(uri) or not _has_port(uri):
        fault = "is not set" if not given else "is no http(s) address of a host, without a query"
        raise InvalidError(f"{TRACKING_URI} {fault}; it must be such as https://mlflow.example.com")
    scheme, _, rest = uri.partition("://")
    return f"{scheme.lower()}://{rest}"


def tls_of(uri: str, environ: Mapping[str, str], *, tracking: bool = True) -> ssl.SSLContext | bool:
    """Return what httpx2 takes as `verify`: False for http, since to read the authorities takes 0.1 s.

    Raises InvalidError for a variable that names nothing, in any case.
    """
    try:
        check_authorities(environ)
        if not uri.startswith("https:"):
            return False
        return tls_context(environ, tracking=tracking) if names_tls(environ, tracking=tracking) else True
    except TlsSettingError as error:
        raise InvalidError(str(error)) from error


def _has_port(uri: str) -> bool:
    try:
        urlsplit(uri).port  # noqa: B018  it raises for one that is none
    except ValueError:
        return False
    return True


def _token(name: str, text: str) -> Secret | None:
    try:
        return token_of(name, text)
    except CredentialError as error:
        raise InvalidError(str(error)) from error
