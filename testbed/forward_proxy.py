"""An HTTP forward proxy: relays plain requests, tunnels TLS, and records what it could read."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from testbed.http_server import in_thread


class Relay(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer of two writes waits 40 ms in between
    server: "ForwardProxy"

    def do_CONNECT(self) -> None:
        self.server.read.append((self.requestline, str(self.headers)))
        if self.server.refuse:
            self.send_error(self.server.refuse)
            return
        host, _, port = self.path.rpartition(":")
        with closing(socket.create_connection((host, int(port)))) as upstream:
            self.send_response(200)
            self.end_headers()
            back = threading.Thread(target=_pour, args=(upstream, self.connection), daemon=True)
            back.start()
            _pour(self.connection, upstream)
            back.join()
        self.close_connection = True

    def do_GET(self) -> None:
        self.server.read.append((self.requestline, str(self.headers)))
        target = urlsplit(self.path)
        with closing(http.client.HTTPConnection(target.hostname or "", target.port)) as connection:
            connection.request("GET", target._replace(scheme="", netloc="").geturl(), headers=dict(self.headers))
            answer = connection.getresponse()
            body = answer.read()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing."""


class ForwardProxy(ThreadingHTTPServer):
    """`read` holds the first line and the headers of each request, as far as the proxy can read them."""

    daemon_threads = True

    def __init__(self, refuse: int | None = None) -> None:
        """Set up the proxy; it refuses every tunnel with the status `refuse`, if that is set."""
        super().__init__(("127.0.0.1", 0), Relay)
        self.refuse = refuse
        self.read: list[tuple[str, str]] = []


@contextmanager
def forward_proxy(*, refuse: int | None = None) -> Iterator[ForwardProxy]:
    server = ForwardProxy(refuse)
    with in_thread(server):
        yield server


def _pour(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return
