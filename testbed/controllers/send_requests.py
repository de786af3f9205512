"""Sends predictions at a steady rate until its standard input ends, then prints the result; runs in a pod.

    python -c "$(cat send_requests.py)" <url> <requests per second> <body>

It needs the standard library only. Half of the clients keep their connections, the others connect for each request.
"""

import http.client
import json
import sys
import threading
import time
from urllib.parse import urlsplit

CLIENTS = 16
TIMEOUT = 30.0


class Client(threading.Thread):
    """One sender: request number n of the client is due at n times the interval after its start."""

    def __init__(self, number: int, url: str, rate: float, body: bytes, ended: threading.Event) -> None:
        super().__init__()
        self.number, self.interval, self.body, self.ended = number, CLIENTS / rate, body, ended
        self.address = urlsplit(url)
        self.is_kept = number % 2 == 0
        self.connection: http.client.HTTPConnection | None = None
        self.seconds: list[float] = []
        self.failures: list[str] = []

    def run(self) -> None:
        due = time.monotonic() + self.interval * self.number / CLIENTS
        while not self.ended.wait(max(0.0, due - time.monotonic())):
            begun = time.monotonic()
            try:
                self.send()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(f"{time.strftime('%X')} {'kept' if self.is_kept else 'new'}: {error!r}")
                self.close()
            self.seconds.append(time.monotonic() - begun)
            due = max(due + self.interval, time.monotonic() - TIMEOUT)
        self.close()

    def send(self) -> None:
        if self.connection is None:
            self.connection = http.client.HTTPConnection(self.address.netloc, timeout=TIMEOUT)
        headers = {"Content-Type": "application/json"} | ({} if self.is_kept else {"Connection": "close"})
        self.connection.request("POST", self.address.path, self.body, headers)
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status != http.client.OK:
            self.failures.append(f"{time.strftime('%X')}: {answer.status} {text[:200]!r}")
        if not self.is_kept or answer.will_close:
            self.close()

    def close(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None


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
