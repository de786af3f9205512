"""Reviews per second over TLS with kept connections, and their times at 300 per second; peers in the same run.

A peer is a webhook that listens already: PEER_<NAME>=https://127.0.0.1:8443/mutate measures it with the same reviews.
"""

import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from benchmarks.admission_in_process import EXAMPLE, KIB, pod_of
from benchmarks.machine import describe, memory
from benchmarks.wrk import load
from testbed.api_server import review_of
from testbed.certificates import issue
from testbed.processes import free_port, installed, running
from testbed.webhook_server import WebhookServer, webhook_server

CONNECTIONS: Final = (1, 16, 64)
PACE: Final = 300  # reviews per second
CLIENTS: Final = 4  # that share the pace
PACED_SECONDS: Final = 10
PEER: Final = "PEER_"


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as name, ExitStack() as processes:
        directory = Path(name)
        server = processes.enter_context(webhook_server(directory / "ours"))
        targets = {
            "this webhook": f"https://127.0.0.1:{server.port}/mutate",
            **empty_view(directory / "empty", processes),
            **peers(os.environ),
        }
        for title, pod in {"example pod": EXAMPLE, "74 KiB pod of 20 containers": pod_of(74 * KIB, 20)}.items():
            body = directory / "review.json"
            body.write_text(json.dumps(review_of(pod)))
            print(
                f"\n{title}, {body.stat().st_size / KIB:.1f} KiB: reviews per second (p99 in ms) at {CONNECTIONS}"
                " connections"
            )
            for target, url in targets.items():
                print(f"  {target:<24}", *(row(url, body, connections) for connections in CONNECTIONS), flush=True)
        paced(server, json.dumps(review_of(EXAMPLE)).encode())
        print(f"memory of the webhook's two processes after that: {memory(server.process.popen.pid):.0f} MiB (PSS)")


def row(url: str, body: Path, connections: int) -> str:
    measured = load(url, body, connections=connections)
    return f"{measured.rate:>8.0f} ({measured.p99:.1f})".ljust(20)


def peers(environ: Mapping[str, str]) -> dict[str, str]:
    return {name.removeprefix(PEER).lower(): url for name, url in environ.items() if name.startswith(PEER)}


def empty_view(directory: Path, processes: ExitStack) -> dict[str, str]:
    certificates, port, metrics_port = issue(directory, "127.0.0.1"), free_port(), free_port()
    module: list[str | Path] = [installed("python"), "-m", "benchmarks.empty_view"]
    command = [*module, str(port), str(metrics_port), certificates.certificate, certificates.key]
    process = processes.enter_context(running(command, log=directory / "log", env=dict(os.environ)))
    process.wait_for_http(f"http://127.0.0.1:{metrics_port}/metrics")
    return {"a Flask view, empty": f"https://127.0.0.1:{port}/mutate"}


def paced(server: WebhookServer, body: bytes) -> None:
    """Send so many reviews per second, each at its time, without waiting for the one before."""
    times: list[float] = []
    clients = [threading.Thread(target=client, args=(server, body, number, times)) for number in range(CLIENTS)]
    for started in clients:
        started.start()
    for started in clients:
        started.join()
    times.sort()
    p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    print(f"\n{PACE} reviews per second, example pod: p50 {p50:.2f} ms, p99 {p99:.2f} ms, of {len(times)}")


def client(server: WebhookServer, body: bytes, number: int, times: list[float]) -> None:
    connection = server.connection()
    for moment in moments(number):
        time.sleep(max(0.0, moment - time.monotonic()))
        connection.request("POST", "/mutate", body, {"Content-Type": "application/json"})
        connection.getresponse().read()
        times.append(time.monotonic() - moment)
    connection.close()


def moments(number: int) -> Iterator[float]:
    interval = CLIENTS / PACE
    first = time.monotonic() + 0.1 + number / PACE
    for index in range(int(PACED_SECONDS / interval)):
        yield first + index * interval


if __name__ == "__main__":
    main()
