"""HTTP clients that begin a request, or the reading of an answer, and do not go on."""

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from testbed.processes import PATIENCE


def head_of(method: str, path: str, headers: Mapping[str, str] | None = None) -> bytes:
    """Return the head of a request, with its empty line."""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: gate",
        *(f"{name}: {value}" for name, value in (headers or {}).items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def connected(uri: str, sent: bytes, *, receives: int | None = None) -> socket.socket:
    """Return a connection on which `sent` was sent; `receives` is the size in bytes of its receive buffer."""
    address = urlsplit(uri)
    found = socket.socket()
    if receives is not None:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    found.settimeout(PATIENCE)
    found.connect((address.hostname, address.port))
    found.sendall(sent)
    return found


@contextmanager
def slow_clients(
    uri: str, count: int, kinds: Sequence[bytes], *, receives: int | None = None
) -> Iterator[list[socket.socket]]:
    """Run clients that have sent one of `kinds` each, in turn, and do nothing more until the `with` block ends."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(connected(uri, kinds[number % len(kinds)], receives=receives))
            for number in range(count)
        ]


def rest_of(connection: socket.socket) -> bytes:
    """Return all bytes until the other side closes. Raises ConnectionResetError, TimeoutError."""
    found = bytearray()
    while chunk := connection.recv(65536):
        found += chunk
    return bytes(found)
