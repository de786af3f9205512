"""Rules for a reverse proxy: ways in which a server, or the network before it, fails."""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPResponse
from typing import Any

from testbed.reverse_proxy import CHUNK, Exchange, Rule, forwarded

Files = list[dict[str, Any]]


def only(part: str, rule: Rule) -> Rule:
    """Apply the rule to paths that hold `part`."""
    return lambda exchange: part in exchange.path and rule(exchange)


def first(times: int, rule: Rule) -> Rule:
    """Apply the rule to the first `times` requests that reach it."""
    left = threading.Semaphore(times)
    return lambda exchange: left.acquire(blocking=False) and rule(exchange)


def answer(status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Rule:
    """Send this answer instead of the server's."""

    def rule(exchange: Exchange) -> bool:
        exchange.send(status, body, headers)
        return True

    return rule


def cut(after: int) -> Rule:
    """End the connection after so many bytes of the body, though its length, or its chunks, promise more."""

    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            length = real.getheader("Content-Length")
            exchange.begin(real.status, forwarded(real.getheaders()), length=None if length is None else int(length))
            part = real.read(after)
            exchange.wfile.write(part if length or not part else b"%x\r\n%s\r\n" % (len(part), part))
        exchange.hang_up()
        return True

    return rule


def cut_head(exchange: Exchange) -> bool:
    """End the connection after the first line of the head."""
    exchange.send_response(200)
    exchange.flush_headers()
    exchange.hang_up()
    return True


def early_hint(exchange: Exchange) -> bool:
    """Send an interim answer before the server's."""
    exchange.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
    return False


def end_early(after: int) -> Rule:
    """End a body in chunks properly, after so many bytes."""

    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            exchange.begin(real.status, forwarded(real.getheaders()), length=None)
            exchange.stream(iter(filter(None, [real.read(after)])), chunked=True)  # an empty chunk is the end
        return True

    return rule


def without_length(exchange: Exchange) -> bool:
    """Send a body that ends with the connection, as in HTTP/1.0."""
    with exchange.upstream() as real:
        exchange.send_response(real.status)
        exchange.send_header("Connection", "close")
        exchange.end_headers()
        exchange.wfile.write(real.read())
    exchange.hang_up()
    return True


def text_without_length(exchange: Exchange) -> bool:
    """Send a text that ends with the connection, as another program at MLflow's address may."""
    exchange.send_response(200)
    exchange.send_header("Content-Type", "text/plain")
    exchange.send_header("Connection", "close")
    exchange.end_headers()
    exchange.wfile.write(b"It works!")
    exchange.hang_up()
    return True


def stall(after: int) -> Rule:
    """Send so many bytes, and then nothing until the client goes away. A shorter answer is whole."""

    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            given = real.getheader("Content-Length")
            length = None if given is None else int(given)
            exchange.begin(real.status, forwarded(real.getheaders()), length=length)
            content = real.read(after)
            exchange.wfile.write(b"%x\r\n%b\r\n" % (len(content), content) if length is None else content)
            exchange.wfile.flush()
            if length is None or length > after:
                exchange.connection.recv(1)
                exchange.hang_up()
        return True

    return rule


def slowly(pause: float) -> Rule:
    """Pass on the real answer with a pause in seconds after every piece of at most 64 KiB."""

    def paused(real: HTTPResponse) -> Iterator[bytes]:
        while chunk := real.read1(CHUNK):
            yield chunk
            time.sleep(pause)

    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            length = real.getheader("Content-Length")
            exchange.begin(real.status, forwarded(real.getheaders()), length=None if length is None else int(length))
            exchange.stream(paused(real), chunked=length is None)
        return True

    return rule


def without_ranges(exchange: Exchange) -> bool:
    """Let the server answer with the whole file, even if a part was asked for."""
    del exchange.headers["Range"]
    return False


def listing(change: Callable[[Files], object]) -> Rule:
    """Change the entries of listings in place."""

    def rule(exchange: Exchange) -> bool:
        if "mlflow-artifacts/artifacts?" not in exchange.path:
            return False
        with exchange.upstream() as real:
            document = json.loads(real.read())
        change(document.setdefault("files", []))
        exchange.send(200, json.dumps(document).encode(), {"Content-Type": "application/json"})
        return True

    return rule


def drip_head(pause: float) -> Rule:
    """Send a head without an end: one more line after each pause in seconds."""

    def rule(exchange: Exchange) -> bool:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\n")
        _forever(exchange, b"X: y\r\n", pause)
        return True

    return rule


def continue_forever(pause: float, status: bytes = b"100 Continue") -> Rule:
    """Send interim answers and never a final one."""

    def rule(exchange: Exchange) -> bool:
        _forever(exchange, b"HTTP/1.1 %b\r\n\r\n" % status, pause)
        return True

    return rule


def drip_body(pause: float) -> Rule:
    """Send the right length, and one byte of the body after each pause in seconds."""

    def rule(exchange: Exchange) -> bool:
        with exchange.upstream() as real:
            exchange.begin(real.status, forwarded(real.getheaders()), length=int(real.getheader("Content-Length", "0")))
        _forever(exchange, b"x", pause)
        return True

    return rule


def _forever(exchange: Exchange, piece: bytes, pause: float) -> None:
    """Repeat the piece until the client goes away."""
    try:
        while True:
            exchange.wfile.write(piece)
            exchange.wfile.flush()
            time.sleep(pause)
    except OSError:
        exchange.close_connection = True
