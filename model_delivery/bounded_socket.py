"""Sockets whose reads end at a given time.

The timeout of a socket is for one read, and an HTTP head or a chunk's header takes any number of reads.
"""

import socket
import ssl
import time
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


class BoundedSocket(socket.socket):
    """A TCP socket; `read_deadline` is a time of `time.monotonic`."""

    read_deadline: float = inf

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        _bound(self, self.read_deadline)
        return super().recv_into(buffer, nbytes, flags)


class BoundedTlsSocket(ssl.SSLSocket):
    """The same with TLS; the `sslsocket_class` of a context makes it."""

    read_deadline: float = inf

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        _bound(self, self.read_deadline)
        return super().recv_into(buffer, nbytes, flags)


def connected(address: tuple[str, int], timeout: float) -> BoundedSocket:
    """Return a connection to `address`.

    `timeout` is in seconds, for each address of the host, and for reads before `read_deadline` is set.
    """
    plain = socket.create_connection(address, timeout)
    bounded = BoundedSocket(fileno=plain.detach())
    bounded.settimeout(timeout)
    bounded.read_deadline = time.monotonic() + timeout
    return bounded


def _bound(sock: socket.socket, read_deadline: float) -> None:
    if read_deadline == inf:
        return
    left = read_deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    sock.settimeout(left)
