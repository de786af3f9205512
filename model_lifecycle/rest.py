"""HTTP to MLflow, or to the gate in front of it: what only reads is tried again, what changes is sent once."""

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Self

import httpx2

from model_lifecycle.errors import (
    InvalidError,
    LifecycleError,
    NotAuthorisedError,
    NotFoundError,
    PreconditionError,
    UnavailableError,
    UnclearError,
)
from model_lifecycle.tracking import Tracking

Json = dict[str, Any]
CONNECT_TIMEOUT: Final = 10.0  # seconds
CONNECTIONS: Final = 16
LONGEST_WAIT: Final = 10.0  # seconds between two tries
LONGEST_MESSAGE: Final = 500  # characters of what a server says
TRANSIENT: Final = {429, 500, 502, 503, 504}


class Rest:
    """One origin, one caller. Safe to share between threads."""

    def __init__(self, tracking: Tracking, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with each request."""
        self._tracking = tracking
        authorization = {"Authorization": tracking.authorization.reveal()} if tracking.authorization else {}
        self._client = httpx2.Client(
            headers={"User-Agent": "model-api", **(headers or {}), **authorization},
            verify=tracking.uri.startswith("https:"),  # to read the authorities takes 0.1 s, which http has no use for
            timeout=httpx2.Timeout(tracking.timeout, connect=min(CONNECT_TIMEOUT, tracking.timeout)),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, /, **query: str) -> Json:
        """Raises a LifecycleError; NotFoundError where MLflow has no such thing."""
        return self._read("GET", path, params=query)

    def ask(self, path: str, document: Mapping[str, Any]) -> Json:
        """A POST that changes nothing. Raises as `get` does."""
        return self._read("POST", path, json=dict(document))

    def change(self, method: str, path: str, document: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> Json:
        """Sent once. Raises UnclearError where no answer came, or one that does not say whether it was done."""
        try:
            answer = self._client.request(method, self._tracking.uri + path, json=dict(document), headers=dict(headers or {}))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            raise self._unreachable(error) from error
        except httpx2.TransportError as error:
            raise UnclearError(f"MLflow at {self._tracking.uri} did not answer: {_reason(error)}") from error
        if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
            raise UnavailableError(self._said(answer))
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise UnclearError(self._said(answer))
        return self._checked(answer)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """The bytes of a file, as they come. Raises UnavailableError where they end early, too."""
        try:
            with self._client.stream("GET", self._tracking.uri + path, headers={"Accept-Encoding": "identity"}) as answer:
                if answer.status_code != HTTPStatus.OK:
                    answer.read()
                    raise self._refusal(answer)
                yield answer.iter_raw()
        except httpx2.TransportError as error:
            raise self._unreachable(error) from error

    def head(self, path: str) -> Mapping[str, str]:
        """The headers of a file; none where the server does not answer that question."""
        answer = self._retried("HEAD", path)
        return answer.headers if answer.status_code == HTTPStatus.OK else {}

    def _read(self, method: str, path: str, **content: Any) -> Json:
        return self._checked(self._retried(method, path, **content))

    def _retried(self, method: str, path: str, **content: Any) -> httpx2.Response:
        for attempt in range(1, self._tracking.tries + 1):
            last = attempt == self._tracking.tries
            asked: float | None = None
            try:
                answer = self._client.request(method, self._tracking.uri + path, **content)
                if last or answer.status_code not in TRANSIENT or _missing(answer):
                    return answer
                asked = _retry_after(answer)
            except httpx2.TransportError as error:
                if last:
                    raise self._unreachable(error) from error
            time.sleep(min(LONGEST_WAIT, max(asked or 0, random.uniform(0.1, 0.3) * 2**attempt)))  # noqa: S311  so that jobs do not come back together
        raise AssertionError("the last try returns or raises")

    def _checked(self, answer: httpx2.Response) -> Json:
        if answer.status_code != HTTPStatus.OK:
            raise self._refusal(answer)
        try:
            document = answer.json()
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise InvalidError(f"the answer is no JSON object; is MLflow itself at {self._tracking.uri}?")
        return document

    def _refusal(self, answer: httpx2.Response) -> LifecycleError:
        said = self._said(answer)
        if _missing(answer):
            return NotFoundError(said)
        match answer.status_code:
            case HTTPStatus.UNAUTHORIZED | HTTPStatus.FORBIDDEN:
                return NotAuthorisedError(said)
            case HTTPStatus.CONFLICT:
                return PreconditionError(said)
            case code if code in TRANSIENT:
                return UnavailableError(said)
            case _:
                return InvalidError(said)

    def _said(self, answer: httpx2.Response) -> str:
        """What the server gives as the reason; a page of HTML says less than its status."""
        try:
            message = str(answer.json()["message"])
        except (ValueError, KeyError, TypeError):
            message = ""
        if self._tracking.authorization:
            message = message.replace(self._tracking.authorization.reveal().partition(" ")[2], "***")
        return f"MLflow at {self._tracking.uri} answered {answer.status_code}" + (f": {message[:LONGEST_MESSAGE]}" if message else "")

    def _unreachable(self, error: Exception) -> UnavailableError:
        return UnavailableError(f"MLflow at {self._tracking.uri} does not answer: {_reason(error)}")


def _missing(answer: httpx2.Response) -> bool:
    """MLflow says so in its own words; a 404 without them is another server's, or a route that it does not have."""
    try:
        return bool(answer.json()["error_code"] in {"RESOURCE_DOES_NOT_EXIST", "NOT_FOUND"})
    except (ValueError, KeyError, TypeError):
        return answer.status_code == HTTPStatus.NOT_FOUND


def _retry_after(answer: httpx2.Response) -> float | None:
    try:
        return float(answer.headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
