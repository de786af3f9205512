"""The body of an HTTP answer, read in pieces: one that stalls, or ends before its end, is an error."""

import http.client
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from model_contract.network_causes import Peer, cause_of, probed
from model_delivery.bounded_socket import BoundedSocket, BoundedTlsSocket
from model_delivery.errors import InvalidInputError, TransientError, error_of
from model_delivery.patience import Patience

CHUNK: Final = 1 << 18


class Answer:
    """An answer whose body is still to be read."""

    def __init__(
        self,
        what: str,
        response: http.client.HTTPResponse,
        sock: BoundedSocket | BoundedTlsSocket,
        patience: Patience,
        peer: Peer,
    ) -> None:
        self.status = response.status
        self.headers = response.headers
        self.reusable = False  # whether the connection can take another request
        self._what = what
        self._response = response
        self._socket = sock
        self._patience = patience
        self._peer = peer
        self._length = response.length

    @property
    def delimited(self) -> bool:
        """Whether the end of the body is marked, so that a cut one is recognised."""
        return self._response.chunked or self._length is not None

    def chunks(self) -> Iterator[bytes]:
        """The body as it comes. Raises TransientError if it stalls, comes too slowly, or ends before its end."""
        received, mark, since = 0, 0, time.monotonic()
        while chunk := self._read(received):
            received += len(chunk)
            now = time.monotonic()
            if now - since >= self._patience.limits.stall:
                self._check_rate(received - mark, now - since)
                mark, since = received, now
            yield chunk
        if self._length is not None and received < self._length:
            raise TransientError(f"{self._what}: the connection was cut after {received} of {self._length} bytes")
        self.reusable = not self._response.will_close

    def body(self, longest: int) -> bytes:
        """The whole body. Raises InvalidInputError if it is longer than `longest`."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) > longest:
                raise InvalidInputError(
                    f"{self._what}: the answer is longer than {longest} bytes; is MLflow itself at {self._peer.uri}?"
                )
        return bytes(body)

    def beginning(self, longest: int) -> bytes:
        """At most `longest` bytes of the body; the rest is not read."""
        body = bytearray()
        for chunk in self.chunks():
            body += chunk
            if len(body) >= longest:
                break
        return bytes(body[:longest])

    def close(self) -> None:
        """Lets go of the socket: an answer that ends with its connection holds it on its own."""
        self._response.close()

    def _read(self, received: int) -> bytes:
        # Never more than the body has left: on a kept connection a longer read would wait for an answer that nobody
        # asked for.
        wanted = CHUNK if self._length is None else min(CHUNK, self._length - received)
        if not wanted:
            return b""
        self._socket.ends = time.monotonic() + self._patience.read_timeout()
        with network_errors(self._what, self._peer):
            return self._response.read1(wanted)

    def _check_rate(self, count: int, seconds: float) -> None:
        rate, least = count / seconds, self._patience.limits.min_rate
        if rate < least:
            raise TransientError(
                f"{self._what}: only {count} bytes came in {seconds:.0f} s, {rate:.0f} bytes/s, less than the {least:g}"
                " of --min-rate"
            )


@contextmanager
def network_errors(what: str, peer: Peer, *, connecting: bool = False, unanswered: bool = False) -> Iterator[None]:
    """Turn what sockets, TLS and HTTP raise into errors of ours. `unanswered`: nothing has come yet, so a probe may
    tell why.
    """
    try:
        yield
    except (OSError, UnicodeError, http.client.HTTPException) as error:
        cause = cause_of(error, peer, connecting=connecting)
        raise error_of(what, probed(cause, peer) if unanswered else cause) from error
