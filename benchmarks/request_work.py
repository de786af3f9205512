"""Work that one hostile request makes for the runtime's server and for the gate, for each megabyte that is sent.

`python -m benchmarks.request_work [name ...] [--megabytes 4]`
Each server has one process that answers. While a request is answered, another client asks for a small answer again and
again: its slowest answer is the column `beside`. It ends with 1 if a request cost more than the bounds below.
"""

import argparse
import os
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.hostile_requests import MEGABYTE, Attack, of_gate, of_runtime, request
from benchmarks.machine import describe, processor_seconds, tree
from benchmarks.runtime_predictions import saved
from testbed.gate import gate
from testbed.mlflow_server import mlflow_server
from testbed.runtime_server import serving

MOST_SECONDS: Final = 1.0  # of processor for each megabyte
MOST_MEMORY: Final = 60  # bytes for each byte: Python's own object for {"a":1} takes so many
# Below these, a small request is not judged: a page of memory and a tick of the clock are more than its share.
FREE_SECONDS: Final = 0.25
FREE_MEMORY: Final = 24 * MEGABYTE
PATIENCE: Final = 120.0  # seconds of one request
PAUSE: Final = 0.01  # seconds between the small requests beside


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Cost of one request: seconds of processor, bytes of memory, and the slowest small answer beside it."""

    seconds: float
    memory: int
    beside: float
    status: str


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.request_work", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="name", help="requests whose name holds one of these words")
    parser.add_argument("--megabytes", type=float, default=4, help="of a body; a compressed one is a hundredth of it")
    options = parser.parse_args(argv)
    size = int(options.megabytes * MEGABYTE)
    print(describe(), flush=True)
    dear = 0
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        for model in ("elastic-net", "unsigned"):
            target = saved(model, directory / model)
            flags = ("--workers=1", "--read-timeout=60", "--loader=mlflow")
            with serving(target, *flags, log=directory / f"{model}.log", own_process=True) as server:
                title = f"the runtime, a model {'with' if model == 'elastic-net' else 'without'} a signature"
                beside = request("GET", "/version")
                dear += table(
                    title,
                    server.process.popen.pid,
                    server.port,
                    beside,
                    _wanted(of_runtime(size), options.names),
                )
        with (
            mlflow_server("3.17", directory / "mlflow") as upstream,
            gate(upstream, directory / "gate", own_process=True) as found,
        ):
            port = int(found.uri.rpartition(":")[2])
            dear += table(
                "the gate",
                found.process.popen.pid,
                port,
                request("GET", "/livez"),
                _wanted(of_gate(found, size), options.names),
            )
    return 1 if dear else 0


def _wanted(attacks: Iterator[Attack], names: Sequence[str]) -> Iterator[Attack]:
    return (attack for attack in attacks if not names or any(name in attack.name for name in names))


def table(title: str, pid: int, port: int, beside: bytes, attacks: Iterator[Attack]) -> int:
    """Print the table of these requests, and return how many cost more than the bounds."""
    columns = f"{'sent':>9} {'processor':>10} {'s/MB':>7} {'memory':>9} {'B/B':>7} {'beside':>9} answer"
    print(f"\n{title}\n  {'':46} {columns}", flush=True)
    dear = 0
    for attack in attacks:
        work, sent = measured(attack, pid, port, beside), len(attack.sent)
        rate, share = work.seconds / sent * MEGABYTE, work.memory / sent
        is_dear = work.seconds > max(FREE_SECONDS, attack.size * MOST_SECONDS / MEGABYTE) or work.memory > max(
            FREE_MEMORY, attack.size * MOST_MEMORY
        )
        dear += is_dear
        print(
            f"  {attack.name:46} {sent / MEGABYTE:6.2f} MB {work.seconds:8.2f} s {rate:7.2f}"
            f" {work.memory / MEGABYTE:6.0f} MB {share:7.1f} {work.beside * 1000:6.0f} ms {work.status}"
            f"{'  TOO MUCH' if is_dear else ''}",
            flush=True,
        )
    return dear


def measured(attack: Attack, pid: int, port: int, beside: bytes) -> Work:
    exchange(port, beside)
    for process in tree(pid):
        with suppress(OSError):
            Path(f"/proc/{process}/clear_refs").write_text("5")  # the peak begins anew
    before, seconds = _memory(pid, "VmRSS"), processor_seconds(pid)
    with asking(port, beside) as times:
        status = exchange(port, attack.sent)
    return Work(
        seconds=processor_seconds(pid) - seconds,
        memory=max(0, *(_memory(pid, "VmHWM").get(process, 0) - value for process, value in before.items())),
        beside=max(times, default=0.0),
        status=status,
    )


def _memory(pid: int, field: str) -> Mapping[int, int]:
    """Return this field of each process, in bytes."""
    found = {}
    for process in tree(pid):
        with suppress(OSError):
            for line in Path(f"/proc/{process}/status").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    found[process] = int(line.split()[1]) * 1024
    return found


@contextmanager
def asking(port: int, sent: bytes) -> Iterator[list[float]]:
    """Ask again and again for the length of the block; the list gets the seconds of each answer."""
    times: list[float] = []
    ended = threading.Event()

    def ask() -> None:
        while not ended.is_set():
            began = time.perf_counter()
            exchange(port, sent)
            times.append(time.perf_counter() - began)
            time.sleep(PAUSE)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield times
    finally:
        ended.set()
        thread.join()


def exchange(port: int, sent: bytes) -> str:
    """Send these bytes, read until the server closes the connection, and return the last answer's status."""
    status = "none"
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        sender = threading.Thread(target=_send, args=(connection, sent))
        sender.start()
        tail = b""
        with suppress(OSError):
            while piece := connection.recv(1 << 16):
                tail += piece
                if (at := max(tail.rfind(b"HTTP/1.0 "), tail.rfind(b"HTTP/1.1 "))) >= 0 and len(tail) >= at + 12:
                    status = tail[at + 9 : at + 12].decode()
                tail = tail[-16:]
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
        sender.join()
    return status


def _send(connection: socket.socket, sent: bytes) -> None:
    with suppress(OSError):
        connection.sendall(sent)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    sys.exit(main())
