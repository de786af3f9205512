"""Processor time and rate of one-row requests with an inference table and with spans, beside those without.

The first lines are the processor time of what tracing does within a request, without a server.

`python -m benchmarks.observability [--connections 16] [--rounds 12] [--seconds 2]`
All servers run at once, and one at a time has load, in a new order in each round; ratios are of the same round.
"""

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import Process
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler

from benchmarks import wrk
from benchmarks.machine import describe, processor_seconds
from benchmarks.runtime_predictions import COLUMNS, ROW, SETTLE, saved
from serving_runtime.observability.request_stats import RequestStats
from serving_runtime.observability.span_export import SpanExport, Spans
from serving_runtime.observability.spans import SpanDescription, Tracer
from testbed.processes import free_port
from testbed.runtime_server import RuntimeServer, starting

PLAIN: Final = "plain"
REQUESTS: Final = 1000  # of a run without a server
RUNS: Final = 40
SAMPLED: Final = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0.01"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and its figures in all rounds: microseconds of processor for a request, rates, and p99 in ms."""

    server: RuntimeServer
    costs: list[float] = field(default_factory=list)
    loads: list[wrk.Load] = field(default_factory=list)

    def measure(self, body: Path, connections: int, seconds: int) -> None:
        before = processor_seconds(self.server.process.popen.pid)
        load = wrk.load(f"{self.server.url}/invocations", body, connections=connections, seconds=seconds)
        spent = processor_seconds(self.server.process.popen.pid) - before
        self.costs.append(spent / (load.rate * seconds) * 1e6)
        self.loads.append(load)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seconds", type=int, default=2, help="of each load")
    options = parser.parse_args()
    print(describe(), flush=True)
    for name, sampler in (("not sampled", ALWAYS_OFF), ("sampled", ALWAYS_ON)):
        print(f"  a request that is {name:<12}{_traced(ParentBased(sampler)):>6.1f} us within the request")
    with tempfile.TemporaryDirectory() as name, _receiver() as receiver, ExitStack() as stack:
        directory = Path(name)
        model, body = saved("elastic-net", directory / "model"), directory / "row.json"
        body.write_text(json.dumps({"dataframe_split": {"columns": COLUMNS, "data": [ROW]}}))
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver}
        kinds: Mapping[str, tuple[tuple[str, ...], Mapping[str, str]]] = {
            PLAIN: ((), {}),
            "inference table": (("--capture", f"parquet:{directory / 'table'}"), {}),
            "spans, 1 % sampled": ((), traced | SAMPLED),
            "spans of all requests": ((), traced),
        }
        targets = {
            kind: Target(
                server=stack.enter_context(
                    starting(
                        model,
                        "--workers=2",
                        *flags,
                        log=directory / f"{number}.log",
                        environ=environ,
                        own_process=True,
                    )
                )
            )
            for number, (kind, (flags, environ)) in enumerate(kinds.items())
        }
        for target in targets.values():
            target.server.wait_until_ready()
        time.sleep(SETTLE)
        for target in targets.values():
            wrk.load(f"{target.server.url}/invocations", body, connections=options.connections, seconds=1)
        for _ in range(options.rounds):
            for target in random.sample(list(targets.values()), len(targets)):
                target.measure(body, options.connections, options.seconds)
        _print(targets)


class _Dropped(SpanExport):
    """Takes every request, and makes no spans of it."""

    def __init__(self) -> None: ...

    def has_room(self) -> bool:
        return True

    def put(self, spans: Spans) -> None: ...


def _traced(sampler: Sampler) -> float:
    """Return the microseconds of processor that tracing takes in a request: the least of many runs."""
    tracer = Tracer(TracerProvider(sampler=sampler, shutdown_on_exit=False), _Dropped(), {}, {})
    describe_span = partial(SpanDescription, name="POST /invocations", attributes={})
    ids = [f"{random.getrandbits(128):032x}" for _ in range(REQUESTS)]

    def run() -> float:
        began = time.thread_time()
        for request_id in ids:
            trace, stats = tracer.begin("POST", None, request_id), RequestStats()
            trace.run(int)
            if trace.sampled:
                trace.called(0.0, 1, 1, leader=None, result=None)
                _ = trace.header
                tracer.end(trace, stats, describe_span)
        return time.thread_time() - began

    return min(run() for _ in range(RUNS)) / REQUESTS * 1e6


def _print(targets: Mapping[str, Target]) -> None:
    plain = targets[PLAIN]
    for kind, target in targets.items():
        rates = [load.rate for load in target.loads]
        cost_ratio = statistics.median(a / b for a, b in zip(target.costs, plain.costs, strict=True))
        rate_ratio = statistics.median(a.rate / b.rate for a, b in zip(target.loads, plain.loads, strict=True))
        p99 = statistics.median(load.p99 for load in target.loads)
        print(
            f"  {kind:<24}{statistics.median(rates):>8,.0f} requests/s ({rate_ratio:.3f}), "
            f"{statistics.median(target.costs):>6.1f} us of processor ({cost_ratio:.3f}), p99 {p99:.1f} ms"
        )


@contextmanager
def _receiver() -> Iterator[str]:
    """Run a receiver that reads spans and forgets them, in a process of its own."""
    port = free_port()
    process = Process(target=_forget, args=(port,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.join()


class _Forgetful(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name that http.server has
        pass


def _forget(port: int) -> None:
    ThreadingHTTPServer(("127.0.0.1", port), _Forgetful).serve_forever()


if __name__ == "__main__":
    main()
