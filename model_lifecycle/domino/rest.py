"""HTTP requests to Domino: a read is sent again after a failure, a change is sent once."""

import os
import random
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, Self

import httpx2

from model_contract.network_causes import cause_of
from model_contract.temporary_status import is_temporary, leaves_open
from model_lifecycle.domino.access import HOST, DominoAccess, Header
from model_lifecycle.errors import (
    InvalidError,
    LifecycleError,
    NotAuthorisedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    UnclearError,
)
from model_lifecycle.http_client import cause_of_failure, error_of, new_client, peer_of
from model_lifecycle.tracking import tls_of

Json = dict[str, Any]
TIMEOUT: Final = 60.0  # seconds; Domino takes a while to answer a publication
CONNECT_TIMEOUT: Final = 10.0
TRIES: Final = 4
LONGEST_MESSAGE: Final = 300  # characters of what Domino says


class DominoRest:
    """A client for one installation and one caller; used within `with`."""

    def __init__(self, access: DominoAccess) -> None:
        self.access = access
        limits = httpx2.Timeout(TIMEOUT, connect=CONNECT_TIMEOUT)
        headers = {"User-Agent": "model-api", "Accept": "application/json"}
        self._client = new_client(headers=headers, timeout=limits, verify=tls_of("https:", os.environ, tracking=False))
        self._peer = peer_of("Domino", access.uri, HOST)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, /, **query: str | int) -> Any:
        """Read, with retries. Raises LifecycleError; NotFoundError if Domino has no such object."""
        for attempt in range(1, TRIES):
            try:
                answer = self._send("GET", path, params=query)
            except UnavailableError:
                _pause(attempt)
                continue
            if not is_temporary(answer.status_code):
                return self._checked(answer)
            _pause(attempt)
        return self._checked(self._send("GET", path, params=query))

    def has(self, path: str, /, **query: str | int) -> bool:
        """Return True if this Domino has the route."""
        try:
            self.get(path, **query)
        except NotFoundError:
            return False
        return True

    def change(self, method: str, path: str, document: Mapping[str, Any] | None = None) -> Any:
        """Send a change once. Raises UnclearError if no answer tells whether it was made."""
        answer = self._send(method, path, json=None if document is None else dict(document))
        if leaves_open(answer.status_code):
            raise UnclearError(self._said(answer))
        return self._checked(answer)

    def call(self, url: str, document: Mapping[str, Any], *, timeout: float) -> httpx2.Response:
        """Call a model API. Raises UnavailableError if no answer comes."""
        try:
            return self._client.post(
                url, json=dict(document), auth=self.access.authorization_of_call(url), timeout=timeout
            )
        except httpx2.TransportError as error:
            raise UnavailableError(
                f"the model API does not answer: {cause_of(error, peer_of('a model API', url, HOST)).sentence}"
            ) from error

    def _send(self, method: str, path: str, **content: Any) -> httpx2.Response:
        try:
            return self._client.request(
                method, self.access.uri + path, auth=Header(self.access.credential.headers()), **content
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            raise error_of(cause_of_failure(error, self._peer)) from error
        except httpx2.TransportError as error:
            raise UnclearError(f"the connection broke off: {cause_of(error, self._peer).sentence}") from error

    def _checked(self, answer: httpx2.Response) -> Any:
        if not answer.is_success:
            raise self._refusal(answer)
        if not answer.content:
            return {}
        try:
            return answer.json()
        except ValueError as error:
            raise NotAuthorisedError(
                f"Domino at {self.access.uri} answered with no JSON, perhaps with its login page: check the address and"
                " the credential"
            ) from error

    def _refusal(self, answer: httpx2.Response) -> LifecycleError:
        said = self._said(answer)
        match answer.status_code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return NotAuthorisedError(said)
            case code if HTTPStatus.MULTIPLE_CHOICES <= code < HTTPStatus.BAD_REQUEST:
                return NotAuthorisedError(
                    f"{said}: it asks for a login; check that the key or the token is still valid"
                )
            case HTTPStatus.NOT_FOUND | HTTPStatus.METHOD_NOT_ALLOWED | HTTPStatus.GONE:
                return NotFoundError(said)
            case HTTPStatus.CONFLICT:
                return PreconditionError(said)
            case code if is_temporary(code):
                return UnavailableError(said)
            case _:
                return InvalidError(said)

    def _said(self, answer: httpx2.Response) -> str:
        return f"Domino at {self.access.uri} answered {answer.status_code}" + (
            f": {said}" if (said := self.access.redacted(message_of(answer))) else ""
        )


def message_of(answer: httpx2.Response) -> str:
    """Return the reason that an answer gives, in one line; no text for a page of HTML."""
    try:
        document = answer.json()
    except ValueError:
        return "" if "<" in answer.text[:200] else _line(answer.text)
    if not isinstance(document, dict):
        return ""
    errors = document.get("errors")
    first = errors[0] if isinstance(errors, list) and errors else None
    return _line(str(first or document.get("message") or document.get("error") or ""))


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()[:LONGEST_MESSAGE]


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0.1, 0.3) * 2**attempt)  # noqa: S311  so that jobs do not retry at the same time
