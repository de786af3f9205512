"""A streaming reverse proxy in front of a real server. Its rules see a request first, and may answer it."""

import http.client
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import urlsplit

from testbed.http_server import in_thread
from testbed.processes import PATIENCE

CHUNK: Final = 1 << 16
NOT_FORWARDED: Final = {"connection", "content-length", "date", "host", "keep-alive", "server", "transfer-encoding"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: Mapping[str, str]


class Exchange(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer of two writes waits 40 ms in between
    server: "ReverseProxy"
    body: bytes = b""  # all of the request's

    def handle_any(self) -> None:
        with self.server.lock:
            self.server.seen.append(Seen(method=self.command, path=self.path, headers=dict(self.headers)))
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not any(rule(self) for rule in self.server.rules):
            self.relay(self.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = handle_any  # noqa: N815  names of the base class

    def relay(self, body: bytes = b"") -> None:
        """Ask the server behind the proxy, and pass its answer on as it comes."""
        with self.upstream(body) as answer:
            length = answer.getheader("Content-Length")
            self.begin(answer.status, forwarded(answer.getheaders()), length=None if length is None else int(length))
            if self.command != "HEAD":
                self.stream(iter(lambda: answer.read1(CHUNK), b""), chunked=length is None)

    @contextmanager
    def upstream(self, body: bytes = b"") -> Iterator[http.client.HTTPResponse]:
        """Yield the answer of the server behind the proxy."""
        target = urlsplit(self.server.upstream)
        with closing(http.client.HTTPConnection(target.hostname or "", target.port, timeout=PATIENCE)) as connection:
            left_out = NOT_FORWARDED - {"date", "host"} if self.server.keep_host else NOT_FORWARDED
            headers = {name: value for name, value in self.headers.items() if name.lower() not in left_out}
            connection.request(self.command, target.path + self.path, body=body or None, headers=headers)
            with connection.getresponse() as answer:  # the answer holds the socket if the server closes it
                yield answer

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Send a whole answer that does not come from the server behind the proxy."""
        self.begin(status, dict(headers or {}), length=len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def begin(self, status: int, headers: Mapping[str, str], *, length: int | None) -> None:
        """Send status line and headers; a body without a length is sent in chunks."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header(*(("Transfer-Encoding", "chunked") if length is None else ("Content-Length", str(length))))
        self.end_headers()

    def stream(self, chunks: Iterator[bytes], *, chunked: bool) -> None:
        for chunk in chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk) if chunked else chunk)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """End the connection without another byte."""
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing: `seen` holds the requests."""


Rule = Callable[[Exchange], bool]  # True: it has answered


class ReverseProxy(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self, upstream: str, rules: Sequence[Rule], address: tuple[str, int], tls: ssl.SSLContext | None
    ) -> None:
        super().__init__(address, Exchange)
        self.upstream = upstream
        self.keep_host = False
        self.rules = rules
        self.seen: list[Seen] = []
        self.lock = threading.Lock()
        self._tls = tls is not None
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)

    @property
    def uri(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.server_port}"

    def paths(self, part: str = "") -> list[str]:
        """Return the paths of the requests so far that hold `part`."""
        with self.lock:
            return [request.path for request in self.seen if part in request.path]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that goes away in the middle, as some tests do."""


@contextmanager
def reverse_proxy(
    upstream: str,
    *rules: Rule,
    port: int = 0,
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
    keep_host: bool = False,
) -> Iterator[ReverseProxy]:
    """Run a proxy in front of `upstream` for the length of a `with` block; port 0 takes a free one.

    `keep_host` passes on the headers Host and Date as they came, which signatures of requests to object stores cover.
    """
    server = ReverseProxy(upstream, rules, (host, port), tls)
    server.keep_host = keep_host
    with in_thread(server):
        yield server


def forwarded(headers: list[tuple[str, str]]) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in NOT_FORWARDED}
