"""Sends predictions at a steady rate until its standard input ends, then prints the result; runs in a pod.

    python -c "$(cat send_requests.py)" <url> <requests per second> <body>

It needs the standard library only. Half of the clients keep their connections, the others connect for each request.
Requests are bytes that are made once, and answers are read by their length: `http.client` takes ten times as long.
"""

import json
import socket
import sys
import threading
import time
from typing import BinaryIO
from urllib.parse import urlsplit

CLIENTS = 16
TIMEOUT = 30.0


class Client(threading.Thread):
    """One sender: request number n of the client is due at n times the interval after its start."""

    def __init__(self, number: int, url: str, rate: float, body: bytes, ended: threading.Event) -> None:
        super().__init__()
        self.number, self.interval, self.ended = number, CLIENTS / rate, ended
        self.is_kept = number % 2 == 0
        address = urlsplit(url)
        self.address = (address.hostname or "", address.port or 80)
        self.request = request(address.path, address.netloc, body, closing=not self.is_kept)
        self.connection: socket.socket | None = None
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        due = time.monotonic() + self.interval * self.number / CLIENTS
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            try:
                self.send()
            except OSError as error:
                self.failures.append(f"{time.strftime('%X')} {'kept' if self.is_kept else 'new'}: {error!r}")
                self.close()
            self.seconds.append(time.monotonic() - begun)
            due = max(due + self.interval, time.monotonic() - TIMEOUT)
        self.close()

    def send(self) -> None:
        if self.connection is None:
            self.connection = socket.create_connection(self.address, TIMEOUT)
            self.answers = self.connection.makefile("rb")
        self.connection.sendall(self.request)
        status, text, closes = read_answer(self.answers)
        if status != b"200":
            self.failures.append(f"{time.strftime('%X')}: {status!r} {text[:200]!r}")
        if closes or not self.is_kept:
            self.close()

    def close(self) -> None:
        if self.connection:
            self.answers.close()
            self.connection.close()
        self.connection = None


def request(path: str, host: str, body: bytes, *, closing: bool) -> bytes:
    """Return a POST request."""
    lines = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/json", f"Content-Length: {len(body)}"]
    if closing:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode() + body


def read_answer(stream: BinaryIO) -> tuple[bytes, bytes, bool]:
    """Return status and body of an answer, and whether the server closes the connection.

    Raises ConnectionError if the answer is not whole.
    """
    _, _, status = stream.readline().rstrip().partition(b" ")
    headers = {}
    while line := stream.readline().lower().rstrip():
        name, _, value = line.partition(b":")
        headers[name] = value.strip()
    length = int(headers.get(b"content-length", b"-1"))
    text = stream.read(max(0, length))
    if len(text) != length:
        raise ConnectionError("the answer is not whole")
    return status[:3], text, headers.get(b"connection") == b"close"


def main(url: str, rate: str, body: str) -> None:
    ended = threading.Event()
    clients = [Client(number, url, float(rate), body.encode(), ended) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    sys.stdin.read()
    ended.set()
    for client in clients:
        client.join()
    seconds = sorted(time for client in clients for time in client.seconds)
    failures = [failure for client in clients for failure in client.failures]
    result = {"sent": len(seconds), "failures": failures, "p50": seconds[len(seconds) // 2], "longest": seconds[-1]}
    sys.stdout.write(json.dumps(result))


main(*sys.argv[1:])
