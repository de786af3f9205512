"""A proxy between the gate and MLflow that waits, hangs up or cuts an answer if a test says so."""

import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from testbed.processes import PATIENCE

HALF = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n" + b"x" * 100_000,
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + b"x" * 100_000 + b"\r\n",
    "small": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
    "garbage": b"no HTTP at all\r\n\r\n",
    "nothing": b"",
}


@dataclass(slots=True)
class Relay:
    """Requests with `held` in their path wait for `go`; with `lost`, the relay hangs up after MLflow has answered.

    `half` is the answer to requests with `half_path` in their path.
    """

    upstream: str
    uri: str = ""
    held: str = "\0"
    lost: bool = False
    half: str = "length"
    half_path: str = "/half"
    seen: list[str] = field(default_factory=list)  # methods, as soon as a head is there
    arrived: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)


@contextmanager
def relay(upstream: str) -> Iterator[Relay]:
    """Run a relay for the length of a `with` block."""
    state = Relay(upstream=upstream)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or an answer of two writes waits 40 ms in between

        def pass_on(self) -> None:
            state.seen.append(self.command)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if state.half_path in self.path:
                self.connection.sendall(HALF[state.half])
                self.connection.shutdown(socket.SHUT_RDWR)
                self.close_connection = True
                return
            held = state.held in self.path
            if held and not state.lost:
                state.arrived.set()
                state.go.wait(PATIENCE)
            connection = http.client.HTTPConnection(urlsplit(state.upstream).netloc, timeout=PATIENCE)
            connection.request(
                self.command, self.path, body, {"Content-Type": self.headers.get("Content-Type") or "application/json"}
            )
            answer = connection.getresponse()
            content = answer.read()
            connection.close()
            if held and state.lost:
                self.close_connection = True
                return
            self.send_response(answer.status)
            self.send_header("Content-Type", answer.headers.get("Content-Type") or "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815  the library's names

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Print nothing: the gate hangs up when its client does."""

    server = Server(("127.0.0.1", 0), Handler)
    state.uri = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        state.go.set()
        server.shutdown()
        server.server_close()
