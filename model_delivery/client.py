"""HTTP to one origin: the token goes there and nowhere else, connections are kept, and an answer that was cut is an error."""

import http.client
import json
import socket
import ssl
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any, Final

from model_contract.secret import Secret
from model_delivery.errors import InvalidInputError, TransientError
from model_delivery.patience import Patience
from model_delivery.proxy import Proxy
from model_delivery.refusal import refusal
from model_delivery.tracking_uri import TrackingUri

CHUNK: Final = 1 << 18
CONNECT_TIMEOUT: Final = 10.0
USABLE: Final = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
LONGEST_JSON: Final = 64 << 20  # a listing of 100,000 files, at about 100 bytes each, six times over


class Answer:
    """An answer whose body is still to be read."""

    def __init__(self, what: str, response: http.client.HTTPResponse, sock: socket.socket, patience: Patience) -> None:
        self.status = response.status
        self.headers = response.headers
        self.reusable = False
        self._what = what
        self._response = response
        self._socket = sock
        self._patience = patience
        self._length = response.length

    @property
    def delimited(self) -> bool:
        """Whether the end of the body is marked, so that a cut one is recognised."""
        return self._response.chunked or self._length is not None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises TransientError where it stalls, or ends before its end."""
        received = 0
        while chunk := self._read(received):
            received += len(chunk)
            yield chunk
        if self._length is not None and received < self._length:
            raise TransientError(f"{self._what}: the connection was cut after {received} of {self._length} bytes")
        self._response.close()
        self.reusable = not self._response.will_close

    def body(self, longest: int) -> bytes:
        """The whole body. Raises InvalidInputError where it is longer than `longest`."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > longest:
                raise InvalidInputError(f"{self._what}: the answer is longer than {longest} bytes")
        return bytes(body)

    def _read(self, received: int) -> bytes:
        wanted = CHUNK if self._length is None else min(CHUNK, self._length - received)
        if not wanted:
            return b""
        self._socket.settimeout(self._patience.read_timeout())
        with network_errors(self._what):
            return self._response.read1(wanted)


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
        return self._json(what, "GET", target, None)

    def post_json(self, what: str, target: str, body: Mapping[str, object]) -> dict[str, Any]:
        return self._json(what, "POST", target, json.dumps(body).encode())

    @contextmanager
    def get(self, what: str, target: str, headers: Mapping[str, str]) -> Iterator[Answer]:
        """An answer of success, or that the range asked for does not exist; raises the error that any other answer means."""
        with self._answer(what, "GET", target, headers, None) as answer:
            if answer.status not in USABLE:
                raise refusal(what, answer.status, answer.headers, answer.body(LONGEST_JSON), token=self._token)
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

    def _json(self, what: str, method: str, target: str, body: bytes | None) -> dict[str, Any]:
        return self._patience.retrying(lambda: self._json_once(what, method, target, body))

    def _json_once(self, what: str, method: str, target: str, body: bytes | None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} if body is not None else {}
        with self._answer(what, method, target, headers, body) as answer:
            content = answer.body(LONGEST_JSON)
        if answer.status != HTTPStatus.OK:
            raise refusal(what, answer.status, answer.headers, content, token=self._token)
        with suppress(ValueError, RecursionError):
            if isinstance(document := json.loads(content), dict):
                return document
        raise InvalidInputError(f"{what}: the answer is no JSON object; is MLflow itself at {self._uri}?")

    @contextmanager
    def _answer(self, what: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Iterator[Answer]:
        connection, response = self._send(what, method, target, headers, body)
        answer = Answer(what, response, self._sockets[connection], self._patience)
        try:
            yield answer
        finally:
            if answer.reusable:
                self._idle.append(connection)
            else:
                self._drop(connection)

    def _send(
        self, what: str, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Sends the request over a kept connection, or a new one where the server has closed those meanwhile."""
        while True:
            connection, kept = self._take()
            try:
                with network_errors(what):
                    return connection, self._exchange(connection, method, target, headers, body)
            except TransientError as error:
                self._drop(connection)
                if not (kept and isinstance(error.__cause__, ConnectionError)):
                    raise
            except BaseException:
                self._drop(connection)
                raise

    def _exchange(
        self, connection: http.client.HTTPConnection, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> http.client.HTTPResponse:
        if connection not in self._sockets:
            connection.timeout = min(CONNECT_TIMEOUT, self._patience.remaining())
            connection.connect()
            self._sockets[connection] = connection.sock
        self._sockets[connection].settimeout(self._patience.read_timeout())
        connection.request(method, self._uri_prefix() + self._uri.path + target, body=body, headers=self._headers() | dict(headers))
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

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        self._sockets.pop(connection, None)
        connection.close()

    def _uri_prefix(self) -> str:
        """A plain request through a proxy names the whole address; one over TLS goes through a tunnel, which the proxy cannot read."""
        return f"http://{self._uri.authority}" if self._proxy and self._tls is None else ""

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "model-api-delivery", "Accept": "*/*"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        if self._proxy and self._tls is None:
            headers |= self._proxy.headers()
        return headers


@contextmanager
def network_errors(what: str) -> Iterator[None]:
    """Turns what sockets, TLS and HTTP raise into errors of ours."""
    try:
        yield
    except ssl.SSLCertVerificationError as error:
        raise InvalidInputError(
            f"{what}: the server's certificate is not trusted ({error.verify_message}); name the CA's file in SSL_CERT_FILE"
        ) from error
    except TimeoutError as error:
        raise TransientError(f"{what}: the server sent nothing in time") from error
    except (OSError, http.client.HTTPException) as error:
        raise TransientError(f"{what}: {_cause(error)}") from error


def _cause(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was cut in the middle of the answer"
    return str(error) or type(error).__name__
