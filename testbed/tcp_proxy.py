"""A TCP proxy in front of a server, which can be cut off as a partitioned network is: nothing arrives, nothing ends."""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

from testbed.http_server import in_thread

CHUNK: Final = 1 << 16


class Connection(socketserver.BaseRequestHandler):
    server: "TcpProxy"

    def handle(self) -> None:
        self.server.passes.wait()
        with socket.create_connection(self.server.upstream) as upstream:
            back = threading.Thread(target=self._pour, args=(upstream, self.request), daemon=True)
            back.start()
            self._pour(self.request, upstream)
            back.join()

    def _pour(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(CHUNK):
                self.server.passes.wait()
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


class TcpProxy(socketserver.ThreadingTCPServer):
    """Nothing passes while the event `passes` is not set."""

    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.upstream = upstream
        self.passes = threading.Event()
        self.passes.set()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a peer that goes away."""


@contextmanager
def tcp_proxy(upstream: tuple[str, int]) -> Iterator[TcpProxy]:
    """Run a proxy for the length of a `with` block."""
    server = TcpProxy(upstream)
    try:
        with in_thread(server):
            yield server
    finally:
        server.passes.set()
