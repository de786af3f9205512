"""Connections of clients, with limits on their number and on their pauses.

If an address, or the gate, has as many connections as the limit, a new connection replaces the oldest one that has no
request under way. So clients that open connections and send nothing do not lock other clients out. A connection with a
request under way stays open; the limits on requests bound it.
"""

import asyncio
import fcntl
import json
import struct
import termios
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from socket import SO_LINGER, SOL_SOCKET
from typing import Any, Final

from aiohttp import StreamReader, web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import HttpVersion, HttpVersion10, HttpVersion11, RawRequestMessage
from aiohttp.http_exceptions import LineTooLong

from tracking_gate.http.client_addresses import ClientAddresses, address_group
from tracking_gate.metrics import Metrics

HEAD_SECONDS: Final = 10.0  # from the first byte of a request's head to its last
CLOSING_SECONDS: Final = 10.0  # for sending the rest of an answer when a connection is closed
SWEEP_SECONDS: Final = 1.0
FULL: Final = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nRetry-After: 5\r\nConnection: close\r\n\r\n"

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class ClientConnection(web.RequestHandler):
    """One connection of a client, with the times since when it waits."""

    def __init__(self, connections: "Connections", server: "ConnectionServer", **options: Any) -> None:
        super().__init__(server, **options)
        self._connections = connections
        self.wire: asyncio.Transport | None = None  # kept after aiohttp has released it
        self.address = "unknown"
        self.crowded = False  # above the limit of its address: answered with 503, except for probes
        self.in_request = False
        self.idle_since = 0.0
        self.head_since: float | None = None
        self.stalled_since: float | None = None
        self.closing_since: float | None = None
        self.unsent = 0
        self.cut: str | None = None  # the reason, if the gate closed it

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  a server of TCP has no other
        peer = transport.get_extra_info("peername")
        self.wire = transport
        self.address = peer[0] if isinstance(peer, tuple) else "unknown"
        self.idle_since = self._connections.now()
        self._connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.head_since is None and not self.in_request:
            self.head_since = self._connections.now()
        super().data_received(data)

    def pause_writing(self) -> None:
        super().pause_writing()
        self.stalled_since, self.unsent = self._connections.now(), self._unsent_bytes()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.stalled_since = None

    def begin(self) -> None:
        """Note that a request is under way."""
        self.in_request, self.head_since = True, None

    def end(self) -> None:
        self.in_request, self.idle_since = False, self._connections.now()

    def abort(self) -> None:
        """Close at once, without sending the rest."""
        self.force_close()
        if self.wire is not None:
            self.wire.abort()

    def reset(self) -> None:
        """Close with a TCP reset, so that the client does not take the end of the connection for the answer's end."""
        if self.wire is not None and (socket := self.wire.get_extra_info("socket")) is not None:
            socket.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.abort()

    def overdue(self, now: float, seconds: float) -> str | None:
        """Return the phase in which the client paused for more than `seconds`, None if there is none."""
        if self.head_since is not None and now - self.head_since > min(HEAD_SECONDS, seconds):
            return "head"
        if self.stalled_since is not None:
            if (left := self._unsent_bytes()) < self.unsent:
                self.stalled_since, self.unsent = now, left
            elif now - self.stalled_since > seconds:
                return "answer"
        if self.wire is not None and self.wire.is_closing():
            self.closing_since = self.closing_since or now
            return "close" if now - self.closing_since > CLOSING_SECONDS else None
        return None

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Answer bytes that are not HTTP. Every client can send them, so they are counted and not logged."""
        if exc is None or status != HTTPStatus.BAD_REQUEST:
            return super().handle_error(request, status, exc, message)
        self._connections.count_malformed()
        body = {
            "error_code": "MALFORMED_REQUEST",
            "message": "the request is not HTTP that can be read in one way only",
        }
        if isinstance(exc, LineTooLong):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            body["message"] = f"the target or a header of the request has more than {exc.args[1]} bytes"
        response = web.Response(status=status, body=json.dumps(body).encode(), content_type="application/json")
        response.force_close()
        return response

    def _unsent_bytes(self) -> int:
        """Return the number of bytes that wait for the client, in the gate and in the kernel."""
        if self.wire is None or (socket := self.wire.get_extra_info("socket")) is None or socket.fileno() < 0:
            return 0
        (queued,) = struct.unpack("i", fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0\0\0\0"))
        return int(queued) + self.wire.get_write_buffer_size()


class RequestOfOtherVersion(web.BaseRequest):
    """A request that says HTTP/0.9 or HTTP/2.0 on a connection of HTTP/1.1."""

    @property
    def version(self) -> HttpVersion:
        """The version of the answer."""
        return HttpVersion11


def unsupported_version() -> web.Response:
    body = {"error_code": "MALFORMED_REQUEST", "message": "send HTTP/1.1: this port has no other version"}
    response = web.Response(
        status=HTTPStatus.HTTP_VERSION_NOT_SUPPORTED,
        body=json.dumps(body).encode(),
        content_type="application/json",
    )
    response.force_close()
    return response


class Connections:
    """All connections by address, within their limits."""

    def __init__(
        self,
        *,
        limit: int,
        limit_of_address: int,
        seconds: float,
        addresses: ClientAddresses | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        """`seconds` is how long a client may take nothing of an answer; without `metrics` nothing is counted."""
        self._limit = limit
        self._limit_of_address = limit_of_address
        self._seconds = seconds
        self._addresses = addresses or ClientAddresses()
        self._metrics = metrics
        self.now = asyncio.get_running_loop().time
        self._by_address: dict[str, dict[ClientConnection, None]] = {}
        self._count = 0

    def add(self, connection: ClientConnection) -> None:
        is_proxy = self._addresses.is_proxy(connection.address)
        connection.address = address_group(connection.address)
        others = self._by_address.setdefault(connection.address, {})
        if len(others) >= self._limit_of_address and not is_proxy:
            connection.crowded = not self._make_room(others)
        others[connection] = None
        self._count += 1
        if self._count > self._limit and not self._make_room(max(self._by_address.values(), key=len), connection):
            self._count_closed(connection, "full")
            if connection.wire is not None:
                connection.wire.write(FULL)
            connection.force_close()
        self._report_count()

    def remove(self, connection: ClientConnection) -> None:
        of_address = self._by_address.get(connection.address, {})
        if connection not in of_address:
            return
        del of_address[connection]
        if not of_address:
            del self._by_address[connection.address]
        self._count -= 1
        self._report_count()

    async def watch(self) -> None:
        """Close the connections of clients that are too slow, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self.now()
            for connection in [one for of_address in self._by_address.values() for one in of_address]:
                if reason := connection.overdue(now, self._seconds):
                    self._close(connection, reason)

    def _make_room(self, others: dict[ClientConnection, None], new: ClientConnection | None = None) -> bool:
        idle = [one for one in others if not one.in_request and one is not new]
        if not idle:
            return False
        oldest = min(idle, key=lambda one: one.idle_since)
        self._close(oldest, "idle")
        self.remove(oldest)
        return True

    def _close(self, connection: ClientConnection, reason: str) -> None:
        self._count_closed(connection, reason)
        connection.abort()

    def count_malformed(self) -> None:
        if self._metrics:
            self._metrics.malformed()

    def _count_closed(self, connection: ClientConnection, reason: str) -> None:
        connection.cut = reason
        if self._metrics:
            self._metrics.closed(reason)

    def _report_count(self) -> None:
        if self._metrics:
            self._metrics.connections(self._count)


class ConnectionServer(web.Server):
    """Creates a ClientConnection for each connection that is accepted."""

    def __init__(self, handler: Handler, connections: Connections, **options: Any) -> None:
        super().__init__(self._handle, request_factory=self._request, handler_cancellation=True)
        self._handler = handler
        self._table = connections
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return ClientConnection(self._table, self, loop=self._loop, **self._options)

    def _request(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: web.RequestHandler,
        writer: AbstractStreamWriter,
        task: "asyncio.Task[None]",
    ) -> web.BaseRequest:
        kind = web.BaseRequest if message.version in {HttpVersion10, HttpVersion11} else RequestOfOtherVersion
        return kind(message, payload, protocol, writer, task, self._loop)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        connection = request.protocol
        assert isinstance(connection, ClientConnection)  # noqa: S101  this server makes no other
        connection.begin()
        try:
            if isinstance(request, RequestOfOtherVersion):
                self._table.count_malformed()
                return unsupported_version()
            return await self._handler(request)
        finally:
            connection.end()
