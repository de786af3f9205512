"""HTTP to one origin: the token goes there and nowhere else, and connections are kept."""

import http.client
import json
import socket
import ssl
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from model_contract.secret import Secret
from model_delivery.answer import Answer, network_errors
from model_delivery.errors import InvalidInputError, TransientError
from model_delivery.patience import Patience
from model_delivery.proxy import Proxy
from model_delivery.refusal import refusal
from model_delivery.tracking_uri import TrackingUri

CONNECT_TIMEOUT: Final = 10.0
USABLE: Final = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
LONGEST_JSON: Final = 64 << 20  # a listing of 100,000 files, at about 100 bytes each, six times over


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """`what` says in an error what was asked for; `target` is path and query below the tracking URI."""

    what: str
    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Client:
    """Speaks to the origin of the tracking URI; safe to share between threads, each of which gets a connection of its own."""

    def __init__(self, uri: TrackingUri, *, token: Secret | None, proxy: Proxy | None, patience: Patience) -> None:
        self._uri = uri
        self._token = token
        self._proxy = proxy
        self._patience = patience
        self._tls = ssl.create_default_context() if uri.scheme == "https" else None
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._sockets: dict[http.client.HTTPConnection, socket.socket] = {}

    def get_json(self, what: str, target: str) -> dict[str, Any]:
        return self._json(Request(what=what, target=target))

    def post_json(self, what: str, target: str, document: Mapping[str, object]) -> dict[str, Any]:
        body = json.dumps(document).encode()
        return self._json(Request(what=what, target=target, method="POST", headers={"Content-Type": "application/json"}, body=body))

    @contextmanager
    def get(self, what: str, target: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """An answer of success, or that the range asked for does not exist; raises the error that any other answer means."""
        with self._answer(Request(what=what, target=target, headers=headers)) as answer:
            if answer.status not in USABLE:
                raise refusal(what, answer.status, answer.headers, answer.body(LONGEST_JSON), token=self._token)
            if answer.headers.get("Content-Encoding", "identity") != "identity":
                raise InvalidInputError(f"{what}: the answer is encoded, which was not asked for; is there a proxy that compresses?")
            yield answer

    def close(self) -> None:
        """Closes the kept connections."""
        while self._idle:
            self._drop(self._idle.pop())

    def abort(self) -> None:
        """Ends every transfer at once; the reads that wait in other threads return."""
        for sock in list(self._sockets.values()):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _json(self, request: Request) -> dict[str, Any]:
        return self._patience.retrying(lambda: self._json_once(request))

    def _json_once(self, request: Request) -> dict[str, Any]:
        with self._answer(request) as answer:
            content = answer.body(LONGEST_JSON)
        if answer.status != HTTPStatus.OK:
            raise refusal(request.what, answer.status, answer.headers, content, token=self._token)
        with suppress(ValueError, RecursionError):
            if isinstance(document := json.loads(content), dict):
                return document
        raise InvalidInputError(f"{request.what}: the answer is no JSON object; is MLflow itself at {self._uri}?")

    @contextmanager
    def _answer(self, request: Request) -> Iterator[Answer]:
        connection, response = self._send(request)
        answer = Answer(request.what, response, self._sockets[connection], self._patience)
        try:
            yield answer
        finally:
            answer.close()
            if answer.reusable:
                self._idle.append(connection)
            else:
                self._drop(connection)

    def _send(self, request: Request) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Sends the request over a kept connection, or a new one where the server has closed those meanwhile."""
        while True:
            connection, kept = self._take()
            try:
                with network_errors(request.what):
                    return connection, self._exchange(connection, request)
            except TransientError as error:
                self._drop(connection)
                if not (kept and isinstance(error.__cause__, ConnectionError | ssl.SSLError)):
                    raise
            except BaseException:
                self._drop(connection)
                raise

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        if connection not in self._sockets:
            connection.timeout = min(CONNECT_TIMEOUT, self._patience.remaining())
            with network_errors(f"{request.what}: cannot reach {self._peer()}"):
                connection.connect()
            self._sockets[connection] = connection.sock
        self._sockets[connection].settimeout(self._patience.read_timeout())
        url = self._url_prefix() + self._uri.path + request.target
        connection.request(request.method, url, body=request.body, headers=self._headers() | dict(request.headers))
        return connection.getresponse()

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with suppress(IndexError):
            return self._idle.pop(), True
        return self._new_connection(), False

    def _new_connection(self) -> http.client.HTTPConnection:
        host, port = (self._proxy.host, self._proxy.port) if self._proxy else (self._uri.host, self._uri.port)
        if self._tls is None:
            return http.client.HTTPConnection(host, port)
        connection = http.client.HTTPSConnection(host, port, context=self._tls)
        if self._proxy:
            connection.set_tunnel(self._uri.host, self._uri.port, headers=self._proxy.headers())
        return connection

    def _peer(self) -> str:
        """Whom a connection is made to, for whoever has to look there."""
        through = f" through the proxy {self._proxy.host}:{self._proxy.port}" if self._proxy else ""
        return f"MLflow at {self._uri}{through}"

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        self._sockets.pop(connection, None)
        connection.close()

    def _url_prefix(self) -> str:
        """A plain request through a proxy names the whole address; one over TLS goes through a tunnel, which the proxy cannot read."""
        return f"http://{self._uri.authority}" if self._proxy and self._tls is None else ""

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "model-api-delivery", "Accept": "*/*"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        if self._proxy and self._tls is None:
            headers |= self._proxy.headers()
        return headers
