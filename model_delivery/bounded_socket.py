"""Sockets whose reads end at a given time.

The timeout of a socket is for one read, and an HTTP head or a chunk's header takes any number of reads.
"""

import select
import socket
import ssl
import time
from math import inf
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


READ_AHEAD: Final = 1 << 15  # bytes: head and body of a small file come in one read
GATHERED: Final = 1 << 17  # bytes that are worth one read
MOMENT: Final = 2  # milliseconds that a read waits for more than the first bytes: a window may be smaller than GATHERED
RECORDS: Final = 7 << 14  # bytes in the whole records of TLS among GATHERED, which have 16 KiB each
SLACK: Final = 0.9  # a read may end a tenth late, which saves the system call that sets a timeout before each read


class BoundedSocket(socket.socket):
    """A TCP socket; `read_deadline` is a time of `time.monotonic`."""

    read_deadline: float = inf

    def makefile(self, *arguments: Any, **options: Any) -> Any:
        return super().makefile(*arguments, **{"buffering": READ_AHEAD, **options})

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int = 0, flags: int = 0) -> int:
        _bound(self, self.read_deadline)
        return super().recv_into(buffer, nbytes, flags)

    def gather(self) -> None:
        """Wait for GATHERED bytes, or for a moment: few large reads take less of the processor than many small ones."""
        _gather(self)


class BoundedTlsSocket(ssl.SSLSocket):
    """The same with TLS; the `sslsocket_class` of a context makes it."""

    read_deadline: float = inf
    _gathered = False

    def makefile(self, *arguments: Any, **options: Any) -> Any:
        return super().makefile(*arguments, **{"buffering": READ_AHEAD, **options})

    def recv_into(self, buffer: "WriteableBuffer", nbytes: int | None = None, flags: int = 0) -> int:
        """Read one record of TLS, or several if they are gathered."""
        _bound(self, self.read_deadline)
        size = super().recv_into(buffer, nbytes, flags)
        if self._gathered:
            self._gathered, view = False, memoryview(buffer)
            while 0 < size < min(RECORDS, len(view)) and (more := super().recv_into(view[size:])):
                size += more
        return size

    def gather(self) -> None:
        """Do the same for the bytes of the records."""
        self._gathered = _gather(self)


def connected(address: tuple[str, int], timeout: float) -> BoundedSocket:
    """Return a connection to `address`.

    `timeout` is in seconds, for each address of the host, and for reads before `read_deadline` is set.
    """
    plain = socket.create_connection(address, timeout)
    bounded = BoundedSocket(fileno=plain.detach())
    bounded.settimeout(timeout)
    bounded.read_deadline = time.monotonic() + timeout
    return bounded


def _gather(sock: socket.socket) -> bool:
    """Return True if GATHERED bytes came, or an end; False after a moment without."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, GATHERED)
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    came = bool(poll.poll(MOMENT))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
    return came


def _bound(sock: socket.socket, read_deadline: float) -> None:
    if read_deadline == inf:
        return
    left = read_deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    set_timeout = sock.gettimeout()
    if set_timeout is None or left < set_timeout * SLACK:
        sock.settimeout(left)
