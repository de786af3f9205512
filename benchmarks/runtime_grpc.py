"""Predictions per second over gRPC beside HTTP and beside an empty servicer of grpcio's asyncio server, in one run.

`python -m benchmarks.runtime_grpc [--rounds 3] [--seconds 5]`
Each server has two workers. gRPC is loaded by ghz and HTTP by wrk, each with one call at a time on each connection; the
processor's time is that of the server alone. ghz, a program of Go, takes more of the machine than wrk: h2load, if it is
installed, then loads both.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks import ghz, h2load, wrk
from benchmarks.machine import describe, processor_seconds
from benchmarks.runtime_predictions import COLUMNS, CONNECTIONS, ROW, SETTLE, saved
from serving_runtime.protocols.open_inference.messages import INFERENCE
from testbed.infer_messages import Request, message_of
from testbed.processes import free_port, installed, running

WORKERS: Final = "2"
WARM: Final = 2  # seconds of load before a server is measured
PICTURE: Final = (1, 224, 224, 3)
Measure = Callable[[int, int], wrk.Load]  # of connections and seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to ask a server. `pid` is that of its first process."""

    name: str
    pid: int
    load: Measure


@dataclass(slots=True)
class Figures:
    rates: list[float]
    p50s: list[float]
    costs: list[float]  # milliseconds of processor for each call


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    options = parser.parse_args()
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        one_row(Path(name), options)
        tensor(Path(name), options)


def one_row(directory: Path, options: argparse.Namespace) -> None:
    as_json, as_message, as_call = directory / "row.json", directory / "row.bin", directory / "row.call"
    as_json.write_text(json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}))
    row = {"name": "row", "datatype": "FP64", "shape": [1, len(ROW)], "data": list(ROW)}
    as_message.write_bytes(message_of({"inputs": [row]}, raw=True, model="model").SerializeToString())
    as_call.write_bytes(h2load.grpc_body(as_message.read_bytes()))
    with (
        _ours(saved("elastic-net", directory / "elastic-net"), directory) as (pid, http, grpc),
        _empty(directory) as (empty_pid, empty_port),
    ):
        url = f"http://127.0.0.1:{http}/invocations"
        ways = (
            Way(name="gRPC", pid=pid, load=_by_ghz(grpc, as_message)),
            Way(name="HTTP, /invocations", pid=pid, load=_by_wrk(url, as_json)),
            Way(name="an empty servicer", pid=empty_pid, load=_by_ghz(empty_port, as_message)),
        )
        _table(f"one row of {len(ROW)} columns, ElasticNet", ways, CONNECTIONS, options)
        if h2load.is_installed():
            ways = (
                Way(name="gRPC", pid=pid, load=_by_h2load(_infer(grpc), as_call, h2load.GRPC)),
                Way(name="HTTP, /invocations", pid=pid, load=_by_h2load(url, as_json, h2load.HTTP)),
                Way(name="an empty servicer", pid=empty_pid, load=_by_h2load(_infer(empty_port), as_call, h2load.GRPC)),
            )
            _table("the same row, all by h2load", ways, CONNECTIONS, options)


def tensor(directory: Path, options: argparse.Namespace) -> None:
    count = int(np.prod(PICTURE))
    head = {"name": "pixels", "shape": list(PICTURE), "datatype": "FP32"}
    announced = json.dumps({"inputs": [head | {"parameters": {"binary_data_size": 4 * count}}]}).encode()
    as_binary, as_message = directory / "tensor.bin", directory / "tensor.message"
    as_binary.write_bytes(announced + bytes(4 * count))
    as_message.write_bytes(
        Request(model_name="model", inputs=[head], raw_input_contents=[bytes(4 * count)]).SerializeToString()
    )
    headers = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(announced))}
    with _ours(saved("picture", directory / "picture"), directory) as (pid, http, grpc):
        url = f"http://127.0.0.1:{http}/v2/models/model/infer"
        ways = (
            Way(name="gRPC, raw", pid=pid, load=_by_ghz(grpc, as_message)),
            Way(name="HTTP, binary", pid=pid, load=_by_wrk(url, as_binary, headers)),
        )
        _table("a tensor of 224 x 224 x 3 floats", ways, (1,), options)


def _table(title: str, ways: Sequence[Way], connections: Sequence[int], options: argparse.Namespace) -> None:
    figures = {(way.name, count): Figures([], [], []) for way in ways for count in connections}
    for way in ways:
        way.load(max(connections), WARM)
    time.sleep(SETTLE)
    for _ in range(options.rounds):
        for count in connections:
            for way in ways:
                before = processor_seconds(way.pid)
                load = way.load(count, options.seconds)
                used = processor_seconds(way.pid) - before
                found = figures[way.name, count]
                found.rates.append(load.rate)
                found.p50s.append(load.p50)
                found.costs.append(used / max(1.0, load.rate * options.seconds) * 1000)
    print(f"\n{title}\n  {'':<22}" + "".join(f"{count:>12} conn." for count in connections))
    for way in ways:
        rates = "".join(f"{statistics.median(figures[way.name, count].rates):>12,.0f}/s    " for count in connections)
        costs = ", ".join(f"{statistics.median(figures[way.name, count].costs):.3f}" for count in connections)
        p50 = statistics.median(figures[way.name, connections[0]].p50s)
        print(f"  {way.name:<22}{rates} p50 {p50:.2f} ms at 1; processor {costs} ms a call", flush=True)


def _by_ghz(port: int, body: Path) -> Measure:
    return lambda connections, seconds: ghz.load(port, body, connections=connections, seconds=seconds)


def _by_wrk(url: str, body: Path, headers: Any = wrk.JSON) -> Measure:
    return lambda connections, seconds: wrk.load(url, body, connections=connections, seconds=seconds, headers=headers)


def _by_h2load(url: str, body: Path, protocol: Sequence[str]) -> Measure:
    return lambda connections, seconds: h2load.load(url, body, *protocol, connections=connections, seconds=seconds)


def _infer(port: int) -> str:
    return f"http://127.0.0.1:{port}{INFERENCE.method('ModelInfer').path}"


@contextmanager
def _ours(model: Path, directory: Path) -> Iterator[tuple[int, int, int]]:
    """Yield the process of the runtime, and its ports of HTTP and gRPC."""
    http, grpc = free_port(), free_port()
    serve = [sys.executable, "-m", "serving_runtime", "serve", "--host", "127.0.0.1", "--workers", WORKERS]
    ports = ["--port", str(http), "--grpc-port", str(grpc), "--model-path", str(model)]
    with running([*serve, *ports], log=directory / "ours.log", env=dict(os.environ)) as process:
        process.wait_for_http(f"http://127.0.0.1:{http}/readyz", seconds=120)
        yield process.popen.pid, http, grpc


@contextmanager
def _empty(directory: Path) -> Iterator[tuple[int, int]]:
    port = free_port()
    command: list[str | Path] = [installed("python"), "-m", "benchmarks.grpc_empty", str(port)]
    with running(command, log=directory / "empty.log", env=dict(os.environ)) as process:
        yield process.popen.pid, port


if __name__ == "__main__":
    main()
