"""HTTP client of one origin: connections are kept, and the token is sent to no other server."""

import http.client
import json
import re
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast

from model_contract.answer_causes import is_html_page, not_json_message
from model_contract.names import TRACKING_URI
from model_contract.network_causes import Peer
from model_contract.tracking_credentials import Credential
from model_delivery.answer import Answer
from model_delivery.bounded_socket import BoundedSocket, BoundedTlsSocket, connected
from model_delivery.deadline import Deadline
from model_delivery.errors import DeliveryError, InvalidInputError, TransientError
from model_delivery.http_errors import answer_error, network_errors
from model_delivery.proxy import Proxy
from model_delivery.tracking_uri import TrackingUri

Parsed = TypeVar("Parsed")

CONNECT_TIMEOUT: Final = 10.0
INTERIM: Final = range(102, 200)
JSON: Final = "application/json"
USABLE: Final = {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE}
PAGE_NAME: Final = re.compile(r"(?i)\.(?:[sx]?html?|xht)$")  # a file that is a page itself, such as a report
LONGEST_JSON: Final = 8 << 20  # a run with 1,000 parameters of 6,000 characters; parsed, at most 25 times as much
LONGEST_ERROR_BODY: Final = 1 << 16  # of an unsuccessful answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request. `what` names it in an error; `target` is path and query below the tracking URI."""

    what: str
    target: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None


class Client:
    """Sends requests to the origin of the tracking URI. Threads may share it: each gets a connection of its own."""

    def __init__(  # noqa: PLR0913  a server, the way to it, and its name in messages
        self,
        uri: TrackingUri,
        *,
        credential: Credential | None,
        proxy: Proxy | None,
        deadline: Deadline,
        tls: ssl.SSLContext | None,
        name: str = "MLflow",
        setting: str = TRACKING_URI,
        is_store: bool = False,
    ) -> None:
        """`tls` is None for http; `name` and `setting` are those of the server, for messages.

        `is_store`: a file is sent with the content coding and the media type that it was stored with.
        """
        self._uri = uri
        self._credential = credential
        self._proxy = proxy
        self._deadline = deadline
        self._tls = tls
        self._is_store = is_store
        self._peer = Peer(
            name=name,
            uri=str(uri),
            host=uri.host,
            port=uri.port,
            setting=setting,
            proxy=f"{proxy.host}:{proxy.port}" if proxy else None,
            proxy_setting=f"{uri.scheme.upper()}_PROXY",
        )
        if tls:
            tls.sslsocket_class = BoundedTlsSocket
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._sockets: dict[http.client.HTTPConnection, BoundedSocket | BoundedTlsSocket] = {}

    def get_json(self, what: str, target: str) -> dict[str, Any]:
        return self._json(Request(what=what, target=target))

    def post_json(self, what: str, target: str, document: Mapping[str, object]) -> dict[str, Any]:
        body = json.dumps(document).encode()
        return self._json(Request(what=what, target=target, method="POST", headers={"Content-Type": JSON}, body=body))

    def get_parsed(self, what: str, target: str, parse: Callable[[Iterable[bytes]], Parsed]) -> Parsed:
        """Return the body as `parse` reads it, piece by piece; `parse` raises ValueError if it is not MLflow's."""
        return self._deadline.retrying(lambda: self._parsed_once(Request(what=what, target=target), parse))

    @contextmanager
    def get(
        self,
        what: str,
        target: str,
        headers: Mapping[str, str],
        refusal: Callable[[str, Answer], DeliveryError] | None = None,
    ) -> Iterator[Answer]:
        """Yield a successful answer, or one that says that the range does not exist.

        Raises DeliveryError for others: what `refusal` returns, or the error for an answer of MLflow.
        """
        with self._answer(Request(what=what, target=target, headers=headers)) as answer:
            if answer.status not in USABLE:
                raise (refusal or self._error)(what, answer)
            is_page = self._is_store and PAGE_NAME.search(target.partition("?")[0])
            if not is_page and "Content-Disposition" not in answer.headers and is_html_page(answer.headers, b""):
                raise InvalidInputError(
                    f"{what}: an HTML page came instead of the file, as a login or a captive portal sends it; "
                    f"check that {self._peer.name} itself is at {self._uri}"
                )
            coding = answer.headers.get("Content-Encoding", "identity").lower()
            if coding not in {"", "identity"} and not self._is_store:
                raise InvalidInputError(
                    f"{what}: the answer is compressed, which was not requested; check the proxies before"
                    f" {self._peer.name}"
                )
            yield answer

    def connect(self) -> None:
        """Open a connection to the server, or to the proxy before it, and close it. Raises DeliveryError."""
        seconds = min(CONNECT_TIMEOUT, self._deadline.remaining())
        with network_errors("a connection", self._peer, connecting=True, unanswered=True):
            connected(self._address(), seconds).close()

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._drop(self._idle.pop())

    def abort(self) -> None:
        """End every transfer at once; reads that wait in other threads return."""
        for sock in list(self._sockets.values()):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def _json(self, request: Request) -> dict[str, Any]:
        return self._deadline.retrying(lambda: self._json_once(request))

    def _json_once(self, request: Request) -> dict[str, Any]:
        with self._answer(request) as answer:
            if answer.status != HTTPStatus.OK:
                raise self._error(request.what, answer)
            content = answer.body(LONGEST_JSON)
        with suppress(ValueError, RecursionError):
            if isinstance(document := json.loads(content), dict):
                return document
        raise self._not_json(request.what, answer, content[:LONGEST_ERROR_BODY])

    def _parsed_once(self, request: Request, parse: Callable[[Iterable[bytes]], Parsed]) -> Parsed:
        with self._answer(request) as answer:
            if answer.status != HTTPStatus.OK:
                raise self._error(request.what, answer)
            try:
                return parse(answer.chunks())
            except ValueError as error:
                raise self._not_json(request.what, answer, b"") from error

    def _not_json(self, what: str, answer: Answer, beginning: bytes) -> DeliveryError:
        may_be_cut = not answer.delimited and answer.headers.get("Content-Type", JSON).startswith(JSON)
        if may_be_cut and not is_html_page(answer.headers, beginning):
            return TransientError(f"{what}: the connection was cut in the answer, which has no length")
        return InvalidInputError(f"{what}: {not_json_message(answer.headers, beginning, self._peer)}")

    def _error(self, what: str, answer: Answer) -> DeliveryError:
        content = answer.beginning(LONGEST_ERROR_BODY)
        return answer_error(what, answer.status, answer.headers, content, peer=self._peer, credential=self._credential)

    @contextmanager
    def _answer(self, request: Request) -> Iterator[Answer]:
        connection, response = self._send(request)
        answer = Answer(request.what, response, self._sockets[connection], self._deadline, self._peer)
        try:
            yield answer
        finally:
            answer.close()
            if answer.reusable:
                self._idle.append(connection)
            else:
                self._drop(connection)

    def _send(self, request: Request) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """Send the request over a kept connection, or over a new one if the server has closed the kept ones."""
        while True:
            connection, kept = self._take()
            try:
                with network_errors(request.what, self._peer, unanswered=not kept):
                    return connection, self._exchange(connection, request)
            except DeliveryError as error:
                self._drop(connection)
                if not (kept and isinstance(error.__cause__, ConnectionError | ssl.SSLError)):
                    raise
            except BaseException:
                self._drop(connection)
                raise

    def _exchange(self, connection: http.client.HTTPConnection, request: Request) -> http.client.HTTPResponse:
        fresh = connection not in self._sockets
        if fresh:
            connection.timeout = min(CONNECT_TIMEOUT, self._deadline.remaining())
            with network_errors(request.what, self._peer, connecting=True, unanswered=True):
                connection.connect()
            self._sockets[connection] = cast("BoundedSocket | BoundedTlsSocket", connection.sock)
        sock, seconds = self._sockets[connection], self._deadline.read_timeout()
        if sock.gettimeout() != seconds:
            sock.settimeout(seconds)
        sock.read_deadline = time.monotonic() + seconds
        url = self._url_prefix() + self._uri.path + request.target
        refused: OSError | None = None
        try:
            connection.request(request.method, url, body=request.body, headers=self._headers() | dict(request.headers))
        except (ConnectionError, ssl.SSLError) as error:
            if not fresh:
                raise
            refused = error
        return connection.getresponse() if refused is None else _early_answer(connection, refused)

    def _take(self) -> tuple[http.client.HTTPConnection, bool]:
        with suppress(IndexError):
            return self._idle.pop(), True
        return self._new_connection(), False

    def _new_connection(self) -> http.client.HTTPConnection:
        host, port = self._address()
        if self._tls is None:
            return _Connection(host, port)
        connection = _TlsConnection(host, port, context=self._tls)
        if self._proxy:
            connection.set_tunnel(self._uri.host, self._uri.port, headers=self._proxy.headers())
        return connection

    def _address(self) -> tuple[str, int]:
        """Return host and port of the proxy, or of the server without one."""
        return (self._proxy.host, self._proxy.port) if self._proxy else (self._uri.host, self._uri.port)

    def _drop(self, connection: http.client.HTTPConnection) -> None:
        self._sockets.pop(connection, None)
        connection.close()

    def _url_prefix(self) -> str:
        """Return the origin for a plain request through a proxy; with TLS it goes through a tunnel instead."""
        return f"http://{self._uri.authority}" if self._proxy and self._tls is None else ""

    def _headers(self) -> dict[str, str]:
        headers = {"User-Agent": "model-api-delivery", "Accept": "*/*"}
        if self._credential:
            headers["Authorization"] = self._credential.current().authorization.reveal()
        if self._proxy and self._tls is None:
            headers |= self._proxy.headers()
        return headers


def _early_answer(connection: http.client.HTTPConnection, refused: OSError) -> http.client.HTTPResponse:
    """Return the answer of a server that has closed the connection before it had the request, or raise its reason.

    With TLS 1.3 a server demands a client certificate after the handshake: its alert comes when the request is sent.
    """
    with suppress(ConnectionError, ssl.SSLEOFError, http.client.HTTPException):
        return connection.getresponse()
    raise refused


class _Response(http.client.HTTPResponse):
    """The final answer: an interim one may come first, such as 103, and http.client skips 100 only (RFC 9110, 15.2)."""

    def _read_status(self) -> tuple[str, int, str]:
        while True:
            found: tuple[str, int, str] = super()._read_status()  # type: ignore[misc]  # a private method
            if found[1] not in INTERIM:
                return found
            http.client.parse_headers(self.fp)


class _Connection(http.client.HTTPConnection):
    """A connection whose reads are bounded, also those of a proxy's answer to CONNECT."""

    response_class = _Response

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._create_connection = _connect  # a private attribute, which the tests of the standard library replace too


class _TlsConnection(_Connection, http.client.HTTPSConnection):
    """The same over TLS."""


def _connect(address: tuple[str, int], timeout: float, *_: object) -> BoundedSocket:
    return connected(address, timeout)
