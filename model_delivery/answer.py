"""The body of an HTTP answer, read in pieces. A body that stalls or is cut is an error."""

import http.client
import time
from collections.abc import Iterator
from typing import Final, Protocol, TypeVar, overload

from model_contract.network_causes import Peer
from model_delivery.bounded_socket import BoundedSocket, BoundedTlsSocket
from model_delivery.deadline import Deadline
from model_delivery.errors import InvalidInputError, TransientError
from model_delivery.http_errors import network_errors

CHUNK: Final = 1 << 18

Piece = TypeVar("Piece", bytes, memoryview)


class Headers(Protocol):
    """The headers of an answer."""

    @overload
    def get(self, name: str, /) -> str | None: ...
    @overload
    def get(self, name: str, default: str, /) -> str: ...


class FileAnswer(Protocol):
    """An answer to the request for a file, or for a range of it, as an HTTP server or an object store gives it."""

    status: int

    @property
    def headers(self) -> Headers: ...
    @property
    def delimited(self) -> bool: ...
    def chunks(self) -> Iterator[bytes | memoryview]: ...
    def beginning(self, longest: int) -> bytes: ...


class Answer:
    """An answer whose body has not been read yet."""

    def __init__(
        self,
        what: str,
        response: http.client.HTTPResponse,
        sock: BoundedSocket | BoundedTlsSocket,
        deadline: Deadline,
        peer: Peer,
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.reusable = False  # True if the connection can take another request
        self._what = what
        self._response = response
        self._socket = sock
        self._deadline = deadline
        self._peer = peer
        self._length = response.length

    @property
    def delimited(self) -> bool:
        """True if the end of the body is marked, so that a cut can be noticed."""
        return self._response.chunked or self._length is not None

    def chunks(self) -> Iterator[bytes]:
        """Yield the body as it comes. Raises TransientError if it stalls, is too slow, or is cut."""
        received = 0
        for chunk in paced(self._what, self._pieces(), self._deadline):
            received += len(chunk)
            yield chunk
        if self._length is not None and received < self._length:
            raise TransientError(f"{self._what}: the connection was cut after {received} of {self._length} bytes")
        self.reusable = not self._response.will_close

    def body(self, longest: int) -> bytes:
        """Return the whole body. Raises InvalidInputError if it is longer than `longest` bytes."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > longest:
                raise InvalidInputError(
                    f"{self._what}: the answer is longer than {longest} bytes; check that MLflow itself is at"
                    f" {self._peer.uri}"
                )
        return bytes(body)

    def beginning(self, longest: int) -> bytes:
        """Return at most `longest` bytes of the body; the rest is not read."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) >= longest:
                break
        return bytes(body[:longest])

    def close(self) -> None:
        """Release the socket, which an answer without a length keeps."""
        self._response.close()

    def _pieces(self) -> Iterator[bytes]:
        received = 0
        while chunk := self._read(received):
            received += len(chunk)
            yield chunk

    def _read(self, received: int) -> bytes:
        # Never more than the rest of the body: on a kept connection a longer read would wait for the next answer.
        wanted = CHUNK if self._length is None else min(CHUNK, self._length - received)
        if not wanted:
            return b""
        self._socket.read_deadline = time.monotonic() + self._deadline.read_timeout()
        with network_errors(self._what, self._peer):
            return self._response.read1(wanted)


def paced(what: str, pieces: Iterator[Piece], deadline: Deadline) -> Iterator[Piece]:
    """Yield the pieces of a body as they come. Raises TransientError if they come too slowly."""
    limits, received, since = deadline.limits, 0, time.monotonic()
    for piece in pieces:
        received += len(piece)
        now = time.monotonic()
        if now - since >= limits.stall:
            if (rate := received / (now - since)) < limits.min_rate:
                raise TransientError(
                    f"{what}: only {received} bytes came in {now - since:.0f} s, {rate:.0f} bytes/s, less than the"
                    f" {limits.min_rate:g} of --min-rate"
                )
            received, since = 0, now
        yield piece
