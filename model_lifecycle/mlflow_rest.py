"""HTTP requests to MLflow, or to the gate in front of it.

A read is sent again after a failure, a change is sent once.
"""

import json
import random
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Self

import httpx2

from model_contract.answer_causes import Answer, answer_cause, not_json_message
from model_contract.names import TRACKING_TOKEN, TRACKING_URI
from model_contract.network_causes import Cause
from model_contract.retry_after import retry_after
from model_contract.temporary_status import is_temporary, leaves_open
from model_lifecycle.errors import InvalidError, LifecycleError, NoRouteError, UnclearError
from model_lifecycle.http_client import cause_of_failure, error_of, new_client, peer_of
from model_lifecycle.presigned_files import file_of_store, presigned_path
from model_lifecycle.tracking import Tracking

Json = dict[str, Any]
CONNECT_TIMEOUT: Final = 10.0  # seconds
CONNECTIONS: Final = 16
LONGEST_WAIT: Final = 10.0  # seconds between two tries
LONGEST_ANSWER: Final = 64 << 20  # bytes: a listing of 100,000 files, six times over


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer that was read to its end."""

    status_code: int
    headers: httpx2.Headers
    content: bytes


class MlflowRest:
    """A client for one address and one caller. Safe to share between threads."""

    def __init__(self, tracking: Tracking, headers: Mapping[str, str] | None = None) -> None:
        """`headers` go with each request."""
        self._tracking = tracking
        self._peer = peer_of("MLflow", tracking.uri, TRACKING_URI)
        self._client = new_client(
            headers={"User-Agent": "model-api", **(headers or {})},
            auth=self._authorized if tracking.authorization else None,
            verify=tracking.tls if tracking.uri.startswith("https:") else False,
            timeout=httpx2.Timeout(tracking.timeout, connect=min(CONNECT_TIMEOUT, tracking.timeout)),
            limits=httpx2.Limits(max_connections=CONNECTIONS, max_keepalive_connections=CONNECTIONS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, /, **query: str) -> Json:
        """Read, with retries. Raises LifecycleError: NotFoundError for an object, NoRouteError for a path."""
        return self._read("GET", path, params=query)

    def ask(self, path: str, document: Mapping[str, Any]) -> Json:
        """Read by a POST that changes nothing. Raises as `get` does."""
        return self._read("POST", path, json=dict(document))

    def change(
        self, method: str, path: str, document: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> Json:
        """Send a change once. Raises UnclearError if no answer tells whether it was made."""
        try:
            answer = self._request(method, path, json=dict(document), headers=dict(headers or {}))
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.ProxyError) as error:
            raise self._unreachable(error) from error
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            cause = cause_of_failure(error, self._peer)
            raise (UnclearError(cause.sentence) if cause.temporary else error_of(cause)) from error
        if leaves_open(answer.status_code):
            raise UnclearError(self._cause(answer).sentence)
        return self._checked(answer)

    @contextmanager
    def stream(self, path: str) -> Iterator[Iterator[bytes]]:
        """Yield the bytes of a file as they come, from its object store if MLflow sends no files.

        Raises UnavailableError also if they end early.
        """
        try:
            with ExitStack() as stack:
                answer = stack.enter_context(
                    self._client.stream("GET", self._tracking.uri + path, headers={"Accept-Encoding": "identity"})
                )
                if answer.status_code == HTTPStatus.OK:
                    yield answer.iter_raw()
                else:
                    url = self._presigned_url(path, self._whole(answer))
                    yield stack.enter_context(file_of_store(url, self._tracking.presigned, self._tracking.timeout))
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise self._unreachable(error) from error

    def head(self, path: str) -> Mapping[str, str]:
        """Return the headers of a file; none if the server does not answer HEAD."""
        answer = self._retried("HEAD", path)
        return answer.headers if answer.status_code == HTTPStatus.OK else {}

    def listing(self, path: str, /, **query: str) -> bytes:
        """Return the body of an answer that is too long to be one object in memory. Raises as `get` does."""
        answer = self._retried("GET", path, params=query)
        if answer.status_code != HTTPStatus.OK:
            raise error_of(self._cause(answer))
        return answer.content

    def not_mlflow(self) -> InvalidError:
        """Return the error for a successful answer that is not MLflow's."""
        return InvalidError(not_json_message({}, b"", self._peer))

    def _presigned_url(self, path: str, refusal: Reply) -> Json:
        """Return MLflow's answer with the URL of a file that it has refused to send. Raises LifecycleError."""
        if not (self._answer(refusal).is_presigned_only and self._tracking.presigned.allowed):
            raise error_of(self._cause(refusal))
        return self.get(presigned_path(path))

    def _authorized(self, request: httpx2.Request) -> httpx2.Request:
        """Add the credential, which may be another one than that of the last request. Raises LifecycleError."""
        if sent := self._tracking.authorization:
            request.headers["Authorization"] = sent.current().authorization.reveal()
        return request

    def _request(self, method: str, path: str, **content: Any) -> Reply:
        with self._client.stream(method, self._tracking.uri + path, **content) as answer:
            return self._whole(answer)

    def _whole(self, answer: httpx2.Response) -> Reply:
        content = bytearray()
        for chunk in answer.iter_bytes():
            content += chunk
            if len(content) > LONGEST_ANSWER:
                raise InvalidError(
                    f"the answer is longer than {LONGEST_ANSWER} bytes; is MLflow itself at {self._tracking.uri}?"
                )
        return Reply(status_code=answer.status_code, headers=answer.headers, content=bytes(content))

    def _read(self, method: str, path: str, **content: Any) -> Json:
        return self._checked(self._retried(method, path, **content))

    def _retried(self, method: str, path: str, **content: Any) -> Reply:
        for attempt in range(1, self._tracking.tries + 1):
            last = attempt == self._tracking.tries
            asked: float | None = None
            try:
                answer = self._request(method, path, **content)
                if last or not is_temporary(answer.status_code) or not self._cause(answer).temporary:
                    return answer
                asked = retry_after(answer.headers.get("Retry-After"))
            except (httpx2.TransportError, httpx2.DecodingError) as error:
                cause = cause_of_failure(error, self._peer)
                if last or not cause.temporary:
                    raise error_of(cause) from error
            time.sleep(min(LONGEST_WAIT, max(asked or 0, random.uniform(0.1, 0.3) * 2**attempt)))  # noqa: S311  so that jobs do not retry at the same time
        raise AssertionError("the last try returns or raises")

    def _checked(self, answer: Reply) -> Json:
        if answer.status_code != HTTPStatus.OK:
            error = error_of(self._cause(answer))
            if answer.status_code == HTTPStatus.NOT_FOUND and not self._answer(answer).error_code:
                raise NoRouteError(str(error))
            raise error
        try:
            document = json.loads(answer.content)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise InvalidError(not_json_message(answer.headers, answer.content, self._peer))
        return document

    def _cause(self, answer: Reply) -> Cause:
        credential = sent.title if (sent := self._tracking.authorization) else None
        return answer_cause(
            self._answer(answer), self._peer, credential=credential, hint=f"{TRACKING_TOKEN} is not set"
        )

    def _answer(self, answer: Reply) -> Answer:
        sent = self._tracking.authorization
        return Answer(
            status=answer.status_code,
            headers=answer.headers,
            body=answer.content,
            redacted=sent.redacted if sent else str,
        )

    def _unreachable(self, error: Exception) -> LifecycleError:
        return error_of(cause_of_failure(error, self._peer))
