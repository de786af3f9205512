"""Sockets whose reads end at a given time.

The timeout of a socket is for one read, and an HTTP head or a chunk's header takes any number of reads.
"""

import socket
import ssl
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


READ_AHEAD: Final = 1 << 15  # bytes: head and body of a small file come in one read
SLACK: Final = 0.9  # a read may end a tenth late, which saves the system call that sets a timeout before each read


class BoundedSocket(socket.socket):
    """A TCP socket; `read_deadline` is a time of `time.monotonic`."""

    read_deadline: float = inf

    def makefile(self, *arguments: Any, **options: Any) -> Any:
        return super().makefile(*arguments, **{"buffering": READ_AHEAD, **options})

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        _bound(self, self.read_deadline)
        return super().recv_into(buffer, nbytes, flags)


class BoundedTlsSocket(ssl.SSLSocket):
    """The same with TLS; the `sslsocket_class` of a context makes it."""

    read_deadline: float = inf

    def makefile(self, *arguments: Any, **options: Any) -> Any:
        return super().makefile(*arguments, **{"buffering": READ_AHEAD, **options})

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
    set_timeout = sock.gettimeout()
    if set_timeout is None or left < set_timeout * SLACK:
        sock.settimeout(left)
