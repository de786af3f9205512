"""Sockets whose reads end at a time, however many bytes drip in before it.

The timeout of a socket is for one read, and an HTTP head or a chunk's header takes any number of them.
"""

import socket
import ssl
import time
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class BoundedSocket(socket.socket):
    """A TCP socket; `ends` is a time of `time.monotonic`."""

    ends: float = inf

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        _bound(self, self.ends)
        return super().recv_into(buffer, nbytes, flags)


class BoundedTlsSocket(ssl.SSLSocket):
    """The same with TLS, made by a context whose `sslsocket_class` it is."""

    ends: float = inf

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        _bound(self, self.ends)
        return super().recv_into(buffer, nbytes, flags)


def connected(address: tuple[str, int], timeout: float) -> BoundedSocket:
    """Return a connection to `address`; `timeout` seconds are for each address of the host, and for what is read before
    `ends` is set.
    """
    plain = socket.create_connection(address, timeout)
    bounded = BoundedSocket(fileno=plain.detach())
    bounded.settimeout(timeout)
    bounded.ends = time.monotonic() + timeout
    return bounded


def _bound(sock: socket.socket, ends: float) -> None:
    if ends == inf:
        return
    left = ends - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left)
