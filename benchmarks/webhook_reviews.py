"""Reviews per second over TLS with kept connections, and their times at 300 per second; peers in the same run.

The peers are the webhook's former server with a view that does nothing, and a webhook of Go's net/http that decides
nothing. A webhook that listens already is another one: PEER_<NAME>=https://127.0.0.1:8443/mutate.
"""

import http.client
import json
import os
import ssl
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from benchmarks.admission_in_process import EXAMPLE, KIB, pod_of
from benchmarks.machine import describe, memory, processor_seconds
from benchmarks.wrk import load
from testbed.api_server import review_of
from testbed.certificates import Certificates, issue
from testbed.go_programs import program
from testbed.processes import free_port, installed, running
from testbed.webhook_server import webhook_server

CONNECTIONS: Final = (1, 16, 64)
SECONDS: Final = 5
PACE: Final = 300  # reviews per second
CLIENTS: Final = 4  # that share the pace
PACED_SECONDS: Final = 10
PEER: Final = "PEER_"
OURS: Final = "this webhook"
EMPTY: Final = "a Flask view, empty"
GO: Final = "Go, a fixed patch"
PODS: Final[Mapping[str, Any]] = {"example pod": EXAMPLE, "74 KiB pod of 20 containers": pod_of(74 * KIB, 20)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A webhook that listens. `pid` is None if its process is not ours to measure."""

    name: str
    url: str
    pid: int | None = None


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as name, ExitStack() as processes:
        directory = Path(name)
        server = processes.enter_context(webhook_server(directory / "ours", own_process=True))
        ours = Target(name=OURS, url=f"{server.url}/mutate", pid=server.process.popen.pid)
        peers = [empty_view(directory / "empty", processes), fixed_patch(directory / "go", processes)]
        targets = [ours, *peers, *others(os.environ)]
        body = directory / "review.json"
        scale: list[float] = []
        for title, pod in PODS.items():
            body.write_text(json.dumps(review_of(pod)))
            print(
                f"\n{title}, {body.stat().st_size / KIB:.1f} KiB: reviews per second (p99 in ms; processor time in us)"
                f" at {CONNECTIONS} connections, and times the empty view's of the example pod"
            )
            rates = {target.name: rates_of(target, body) for target in targets}
            scale = scale or rates[EMPTY]
            for measured, found in rates.items():
                times = " ".join(f"{rate / empty:.2f}" for rate, empty in zip(found, scale, strict=True))
                print(f"  {measured:<24}{times}")
        print(f"\n{PACE} reviews per second, example pod")
        body_of_example = json.dumps(review_of(EXAMPLE)).encode()
        for target in targets:
            print(f"  {target.name:<24}{paced(target.url, body_of_example)}", flush=True)
        print(f"\nmemory of the webhook's processes after that: {memory(server.process.popen.pid):.0f} MiB (PSS)")


def rates_of(target: Target, body: Path) -> list[float]:
    """Measure the target at each number of connections, and print a line."""
    print(f"  {target.name:<24}", end="")
    rates = []
    for connections in CONNECTIONS:
        before = processor_seconds(target.pid) if target.pid else 0.0
        measured = load(target.url, body, connections=connections, seconds=SECONDS)
        used = (processor_seconds(target.pid) - before) / (measured.rate * SECONDS) if target.pid else None
        processor = "" if used is None else f"; {used * 1e6:.0f}"
        print(f"{measured.rate:>8.0f} ({measured.p99:.1f}{processor})".ljust(26), end="", flush=True)
        rates.append(measured.rate)
    print()
    return rates


def others(environ: Mapping[str, str]) -> list[Target]:
    return [
        Target(name=name.removeprefix(PEER).lower(), url=url) for name, url in environ.items() if name.startswith(PEER)
    ]


def empty_view(directory: Path, processes: ExitStack) -> Target:
    """Start the view under gunicorn's threads: the webhook's server until decision 15."""
    certificates, port = issue(directory, "127.0.0.1"), free_port()
    command: list[str | Path] = [installed("python"), "-m", "benchmarks.empty_view", str(port), *pair_of(certificates)]
    return start(EMPTY, command, directory, processes, port)


def fixed_patch(directory: Path, processes: ExitStack) -> Target:
    """Start the webhook of Go, compiled if it is missing."""
    certificates, port = issue(directory, "127.0.0.1"), free_port()
    go = program(Path(__file__).parent / "peers" / "fixed_patch", ".")
    return start(GO, [go, f"127.0.0.1:{port}", *pair_of(certificates)], directory, processes, port)


def pair_of(files: Certificates) -> list[Path]:
    return [files.certificate, files.key]


def start(name: str, command: Sequence[str | Path], directory: Path, processes: ExitStack, port: int) -> Target:
    process = processes.enter_context(running(command, log=directory / "log", env=dict(os.environ)))
    process.wait_for_port(port)
    return Target(name=name, url=f"https://127.0.0.1:{port}/mutate", pid=process.popen.pid)


def paced(url: str, body: bytes) -> str:
    """Send so many reviews per second, each at its time, without waiting for the one before, and return the times."""
    times: list[float] = []
    clients = [threading.Thread(target=client, args=(url, body, number, times)) for number in range(CLIENTS)]
    for started in clients:
        started.start()
    for started in clients:
        started.join()
    times.sort()
    p50, p99 = (times[int(len(times) * share)] * 1000 for share in (0.5, 0.99))
    return f"p50 {p50:.2f} ms, p99 {p99:.2f} ms, of {len(times)}"


def client(url: str, body: bytes, number: int, times: list[float]) -> None:
    address = urlsplit(url)
    trust = ssl.create_default_context()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE  # as wrk: the certificate is one of this run
    connection = http.client.HTTPSConnection(str(address.hostname), address.port, timeout=30, context=trust)
    for moment in moments(number):
        time.sleep(max(0.0, moment - time.monotonic()))
        connection.request("POST", address.path, body, {"Content-Type": "application/json"})
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
