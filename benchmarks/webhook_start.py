"""Time from the start of `model-api-webhook serve` to its first answer over TLS."""

import socket
import ssl
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from testbed.certificates import issue
from testbed.processes import free_port, installed, running

ROUNDS: Final = 9


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as directory:
        seconds = sorted(start(Path(directory) / str(number)) for number in range(ROUNDS))
    print(
        f"start to first answer: median {statistics.median(seconds):.2f} s, from {seconds[0]:.2f} to {seconds[-1]:.2f}"
        f" s in {ROUNDS} starts"
    )


def start(directory: Path) -> float:
    certificates = issue(directory, "127.0.0.1")
    port = free_port()
    environ = {
        "MODEL_API_WEBHOOK_SERVER_HOST": "127.0.0.1",
        "MODEL_API_WEBHOOK_SERVER_PORT": str(port),
        "MODEL_API_WEBHOOK_SERVER_METRICS_PORT": str(free_port()),
        "MODEL_API_WEBHOOK_SERVER_CERTIFICATE_FILE": str(certificates.certificate),
        "MODEL_API_WEBHOOK_SERVER_KEY_FILE": str(certificates.key),
    }
    began = time.monotonic()
    with running([installed("model-api-webhook"), "serve"], log=directory / "log", env=environ):
        wait_for_answer(port, certificates.authority)
        return time.monotonic() - began


def wait_for_answer(port: int, authority: Path) -> None:

    context = ssl.create_default_context(cafile=str(authority))
    while True:
        try:
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
            ):
                wrapped.sendall(b"GET /readyz HTTP/1.1\r\nHost: webhook\r\n\r\n")
                if wrapped.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            time.sleep(0.005)


if __name__ == "__main__":
    main()
