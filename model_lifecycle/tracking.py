"""Which MLflow, shown what: the tracking URI and the caller's credentials, from options and the environment."""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.names import TRACKING_TOKEN, TRACKING_URI
from model_contract.secret import Secret
from model_contract.tokens import TokenError, parse_token
from model_lifecycle.errors import InvalidError, NotAuthorisedError

USERNAME: Final = "MLFLOW_TRACKING_USERNAME"
PASSWORD: Final = "MLFLOW_TRACKING_PASSWORD"
PROJECT_TOKENS: Final = "PROJECT_TOKENS"  # what the original's workflow set: an object of all the repository's secrets


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """An MLflow, or the gate in front of it. `authorization` is the header's whole value; `timeout` is in seconds, of one
    request; `tries` is how often one that only reads is sent.
    """

    uri: str
    authorization: Secret | None = None
    timeout: float = 30
    tries: int = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a caller has. For a project: option > PROJECT_ID_<ID> > PROJECT_TOKENS > what MLflow's own clients take."""

    environ: Mapping[str, str]
    token_file: Path | None = None

    def of_project(self, project_id: str) -> Secret | None:
        """The Authorization header for a project's objects. Raises InvalidError, and NotAuthorisedError for a token of another project."""
        if token := self._of_file() or self._of_variables(project_id):
            check_project(token, project_id)
            return bearer(token)
        return self.of_anybody(project_id)

    def of_anybody(self, project_id: str | None = None) -> Secret | None:
        """As above, where no project is known yet; None where there is nothing to show. MLflow's order: user and password > token."""
        if token := self._of_file():
            return bearer(token)
        if user := self.environ.get(USERNAME):
            pair = f"{user}:{self.environ.get(PASSWORD, '')}"
            return Secret("Basic " + base64.b64encode(pair.encode()).decode())
        token = _token(TRACKING_TOKEN, self.environ.get(TRACKING_TOKEN, ""))
        if token and project_id:
            check_project(token, project_id)
        return bearer(token) if token else None

    def _of_file(self) -> Secret | None:
        if self.token_file is None:
            return None
        try:
            return Secret.from_file(self.token_file)
        except OSError as error:
            raise InvalidError(f"--token-file {self.token_file} cannot be read: {error.strerror}") from error
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
    """The variable, and the secret of a GitHub repository, that holds a project's promote token."""
    return f"PROJECT_ID_{project_id.upper()}"


def check_project(token: Secret, project_id: str) -> None:
    """Raises NotAuthorisedError where a token says that it is another project's; one of another format says nothing."""
    try:
        said = parse_token(token.reveal()).project_id
    except TokenError:
        return
    if said != project_id:
        raise NotAuthorisedError(
            f"the token is of project {said}, and not of {project_id}: set {project_variable(project_id)}, or take one project with --only"
        )


def bearer(token: Secret) -> Secret:
    return Secret(f"Bearer {token.reveal()}")


def tracking_uri(option: str | None, environ: Mapping[str, str]) -> str:
    """Option > MLFLOW_TRACKING_URI. Raises InvalidError."""
    uri = (option or environ.get(TRACKING_URI) or "").strip().rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#@]*)?", uri):
        given = "is not set" if not uri else "is no http(s) address without user, password and query"
        raise InvalidError(f"{TRACKING_URI} {given}; it must be such as https://mlflow.example.com")
    return uri


def _token(name: str, text: str) -> Secret | None:
    """Without the line break that often comes along: HTTP libraries refuse it, and print the header."""
    text = text.strip()
    if not text:
        return None
    if not text.isascii() or not text.isprintable() or " " in text:
        raise InvalidError(f"{name} holds characters that no token has")
    return Secret(text)
