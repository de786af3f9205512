"""Predictions per second of this runtime beside MLflow's server, MLServer, KServe, LitServe and BentoML, in one run.

`python -m benchmarks.runtime_predictions [case ...] [--rounds 3] [--seconds 5] [--only NAME ...]`
The cases are one-row, forest, thousand-rows and tensor.
Each server has its own environment and two workers where it says nothing else; all are up, and one is asked at a time, in turn.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import footprint, wrk
from benchmarks.machine import describe
from benchmarks.peers.targets import EMPTY, TARGETS, Place, Target, environ, ours
from testbed.environments import python_of
from testbed.processes import Process, ProcessError, free_port, running

CONNECTIONS: Final = (1, 16, 64)
COLUMNS: Final = tuple(f"measure {number}" for number in range(11))
ROW: Final = tuple(0.1 * number for number in range(11))
PATIENCE: Final = 300  # seconds, until a server answers
WARM: Final = 1  # seconds of load before a server is measured for the first time


@dataclass(frozen=True, slots=True, kw_only=True)
class Running:
    target: Target
    process: Process
    url: str
    body: Path
    loads: dict[int, list[wrk.Load]] = field(default_factory=dict)

    def median(self, connections: int, what: Callable[[wrk.Load], float]) -> float:
        return statistics.median(what(load) for load in self.loads[connections])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=[*CASES, []], metavar="case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--only", nargs="*", default=[], help="names of servers, or what they begin with")
    options = parser.parse_args()
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        for case in options.cases:
            CASES[case](Path(name), options)


def one_row(directory: Path, options: argparse.Namespace) -> None:
    model = saved("elastic_net.py", directory / "elastic-net")
    print(f"\none row of {len(COLUMNS)} columns, ElasticNet", flush=True)
    _table(model, directory, options, (*TARGETS, EMPTY))


def forest(directory: Path, options: argparse.Namespace) -> None:
    model = saved("forest.py", directory / "forest")
    print(f"\none row of {len(COLUMNS)} columns, forest of 300 trees", flush=True)
    _table(model, directory, options, TARGETS)


def _table(model: Path, directory: Path, options: argparse.Namespace, targets: Sequence[Target]) -> None:
    with servers(model, directory, options.only, targets, [ROW]) as up:
        measure(up, CONNECTIONS, options)
        print(
            f"  {'':<26}" + "".join(f"{connections:>12}" for connections in CONNECTIONS) + f"{'p99 at 64':>14}{'p50 at 1':>12}{'PSS':>10}"
        )
        for one in up:
            rates = "".join(f"{one.median(connections, lambda load: load.rate):>12,.0f}" for connections in CONNECTIONS)
            p99, p50 = one.median(64, lambda load: load.p99), one.median(1, lambda load: load.p50)
            print(f"  {one.target.name:<26}{rates}{p99:>11.1f} ms{p50:>9.2f} ms{footprint.memory(one.process.popen.pid):>6.0f} MiB")


def thousand_rows(directory: Path, options: argparse.Namespace) -> None:
    """LitServe takes one row a request."""
    model = saved("elastic_net.py", directory / "elastic-net")
    print(f"\n1,000 rows of {len(COLUMNS)} columns in one request, ElasticNet, one connection")
    targets = [target for target in TARGETS if not target.name.startswith("LitServe")]
    with servers(model, directory, options.only, targets, [ROW] * 1000) as up:
        for one in up:
            before = footprint.seconds(one.process.popen.pid)
            load = wrk.load(one.url, one.body, connections=1, seconds=options.seconds)
            used = footprint.seconds(one.process.popen.pid) - before
            each = used / max(1.0, load.rate * options.seconds) * 1000
            print(f"  {one.target.name:<26}{load.rate:>8.0f} requests/s, p50 {load.p50:6.1f} ms, {each:6.2f} ms of processor for each")


def tensor(directory: Path, options: argparse.Namespace) -> None:
    """The Open Inference Protocol with the tensor as JSON, and as it lies in memory."""
    model = saved("picture.py", directory / "picture")
    place = Place(model=model, port=free_port(), directory=directory)
    shape, count = [1, 224, 224, 3], 224 * 224 * 3
    head = {"name": "pixels", "shape": shape, "datatype": "FP32"}
    as_json, as_binary = directory / "tensor.json", directory / "tensor.bin"
    as_json.write_text(json.dumps({"inputs": [head | {"data": [(index % 255) / 255 for index in range(count)]}]}))
    announced = json.dumps({"inputs": [head | {"parameters": {"binary_data_size": 4 * count}}]}).encode()
    as_binary.write_bytes(announced + bytes(4 * count))
    binary = {"Content-Type": "application/octet-stream", "Inference-Header-Content-Length": str(len(announced))}
    print("\na tensor of 224 x 224 x 3 floats, V2, one connection")
    with running(ours(place), log=directory / "tensor.log", env=dict(os.environ), cwd=directory) as process:
        url = f"http://127.0.0.1:{place.port}"
        process.wait_for_http(f"{url}/readyz", seconds=PATIENCE)
        kinds: Mapping[str, tuple[Path, Mapping[str, str]]] = {"JSON": (as_json, wrk.JSON), "binary": (as_binary, binary)}
        for kind, (body, headers) in kinds.items():
            path = f"{url}/v2/models/model/infer"
            load = wrk.load(path, body, connections=1, seconds=options.seconds, headers=headers)
            size = body.stat().st_size >> 10
            print(f"  {kind:<26}{load.rate:>8.0f} requests/s, p50 {load.p50:6.1f} ms, {size:,} KiB each")


@contextmanager
def servers(
    model: Path, directory: Path, only: Sequence[str], targets: Sequence[Target], rows: Sequence[Sequence[float]]
) -> Iterator[list[Running]]:
    """One that does not start is told, and left out."""
    with ExitStack() as stack:
        up = []
        for target in targets:
            if only and not target.name.lower().startswith(tuple(name.lower() for name in only)):
                continue
            try:
                up.append(stack.enter_context(_started(target, model, directory, rows)))
            except (ProcessError, subprocess.CalledProcessError, wrk.WrkError) as error:
                print(f"  {target.name} does not serve: {' '.join(str(error).split())[-300:]}")
        yield up


@contextmanager
def _started(target: Target, model: Path, directory: Path, rows: Sequence[Sequence[float]]) -> Iterator[Running]:
    own = directory / f"{target.name}-{free_port()}".replace(" ", "-")
    own.mkdir()
    place = Place(model=model, port=free_port(), directory=own)
    body = own / "body.json"
    body.write_text(json.dumps(target.body(COLUMNS, rows)))
    with running(target.command(place), log=own / "log", env=environ(target, place), cwd=own) as process:
        url = f"http://127.0.0.1:{place.port}"
        process.wait_for_http(url + target.ready, seconds=PATIENCE)
        wrk.load(url + target.path, body, connections=1, seconds=WARM)
        yield Running(target=target, process=process, url=url + target.path, body=body)


def measure(up: Sequence[Running], connections: Sequence[int], options: argparse.Namespace) -> None:
    for _ in range(options.rounds):
        for count in connections:
            for one in up:  # in turn: what the machine does besides meets all of them
                one.loads.setdefault(count, []).append(wrk.load(one.url, one.body, connections=count, seconds=options.seconds))


def saved(script: str, target: Path) -> Path:
    if not target.exists():
        command: list[str | Path] = [python_of("mlflow-3.17"), Path(__file__).with_name(script), target]
        subprocess.run(command, check=True, capture_output=True, cwd=target.parent)
    return target


CASES: Final[Mapping[str, Callable[[Path, argparse.Namespace], None]]] = {
    "one-row": one_row,
    "forest": forest,
    "thousand-rows": thousand_rows,
    "tensor": tensor,
}

if __name__ == "__main__":
    main()
