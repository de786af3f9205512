"""Predictions per second of this runtime beside MLflow's server, MLServer, KServe, LitServe and BentoML, in one run.

`python -m benchmarks.runtime_predictions [case ...] [--rounds 3] [--seconds 5] [--only NAME ...]`
The cases are one-row, forest, thousand-rows and tensor. Each server has its own environment, and two workers unless it
has a limit of its own. It runs only while it is measured, since some of them use the processor when idle; each round
measures all of them in turn, so that other load on the machine meets all.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks import wrk
from benchmarks.machine import describe, memory, processor_seconds
from benchmarks.peers.targets import EMPTY, TARGETS, Place, Target, environ, ours
from testbed.environments import python_of
from testbed.processes import ProcessError, free_port, running

CONNECTIONS: Final = (1, 16, 64)
COLUMNS: Final = tuple(f"measure {number}" for number in range(11))
ROW: Final = tuple(0.1 * number for number in range(11))
PATIENCE: Final = 300  # seconds, until a server answers
WARM: Final = 1  # seconds of load before a server is measured
SETTLE: Final = 3  # seconds, after which our server has compared its model with the one that MLflow loads


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """Requests for all servers: the prediction of `rows`, over each number of connections in turn."""

    model: Path
    directory: Path
    rows: Sequence[Sequence[float]]
    connections: Sequence[int]


@dataclass(slots=True)
class Figures:
    """Figures of one server in all rounds.

    They are its loads and the processor's milliseconds for a request, by connections, and its memory in MiB.
    """

    loads: dict[int, list[wrk.Load]] = field(default_factory=dict)
    costs: dict[int, list[float]] = field(default_factory=dict)
    memory: list[float] = field(default_factory=list)

    def add(self, connections: int, load: wrk.Load, cost: float) -> None:
        self.loads.setdefault(connections, []).append(load)
        self.costs.setdefault(connections, []).append(cost)

    def median(self, connections: int, what: Callable[[wrk.Load], float]) -> float:
        return statistics.median(what(load) for load in self.loads[connections])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    parser.add_argument("--only", nargs="*", default=[], help="names of servers, or what they begin with")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):  # argparse's own `choices` refuse none at all
        parser.error(f"no such case: {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    print(describe(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        for case in options.cases or CASES:
            CASES[case](Path(name), options)


def one_row(directory: Path, options: argparse.Namespace) -> None:
    model = saved("elastic-net", directory / "elastic-net")
    print(f"\none row of {len(COLUMNS)} columns, ElasticNet", flush=True)
    _table(model, directory, options, (*TARGETS, EMPTY))


def forest(directory: Path, options: argparse.Namespace) -> None:
    model = saved("forest", directory / "forest")
    print(f"\none row of {len(COLUMNS)} columns, forest of 300 trees", flush=True)
    _table(model, directory, options, TARGETS)


def _table(model: Path, directory: Path, options: argparse.Namespace, targets: Sequence[Target]) -> None:
    print(
        f"  {'':<26}"
        + "".join(f"{connections:>12}" for connections in CONNECTIONS)
        + f"{'p99 at 64':>14}{'p50 at 1':>12}{'PSS':>10}"
    )
    case = Case(model=model, directory=directory, rows=[ROW], connections=CONNECTIONS)
    for name, found in measured(case, targets, options).items():
        rates = "".join(f"{found.median(connections, lambda load: load.rate):>12,.0f}" for connections in CONNECTIONS)
        p99, p50 = found.median(64, lambda load: load.p99), found.median(1, lambda load: load.p50)
        print(f"  {name:<26}{rates}{p99:>11.1f} ms{p50:>9.2f} ms{statistics.median(found.memory):>6.0f} MiB")


def thousand_rows(directory: Path, options: argparse.Namespace) -> None:
    """Measure requests of 1,000 rows; LitServe takes one row a request, and is left out."""
    model = saved("elastic-net", directory / "elastic-net")
    print(f"\n1,000 rows of {len(COLUMNS)} columns in one request, ElasticNet, one connection", flush=True)
    targets = [target for target in TARGETS if not target.name.startswith("LitServe")]
    case = Case(model=model, directory=directory, rows=[ROW] * 1000, connections=[1])
    for name, found in measured(case, targets, options).items():
        rate, p50 = found.median(1, lambda load: load.rate), found.median(1, lambda load: load.p50)
        cost = statistics.median(found.costs[1])
        print(f"  {name:<26}{rate:>8.0f} requests/s, p50 {p50:6.1f} ms, {cost:6.2f} ms of processor for each")


def tensor(directory: Path, options: argparse.Namespace) -> None:
    """Measure the Open Inference Protocol with a tensor as JSON, and in binary form."""
    model = saved("picture", directory / "picture")
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
        kinds: Mapping[str, tuple[Path, Mapping[str, str]]] = {
            "JSON": (as_json, wrk.JSON),
            "binary": (as_binary, binary),
        }
        for kind, (body, headers) in kinds.items():
            path = f"{url}/v2/models/model/infer"
            load = wrk.load(path, body, connections=1, seconds=options.seconds, headers=headers)
            size = body.stat().st_size >> 10
            print(f"  {kind:<26}{load.rate:>8.0f} requests/s, p50 {load.p50:6.1f} ms, {size:,} KiB each")


def measured(case: Case, targets: Sequence[Target], options: argparse.Namespace) -> Mapping[str, Figures]:
    """Return the figures by the servers' names. A server that does not start is printed and left out."""
    wanted = tuple(name.lower() for name in options.only)
    left = [target for target in targets if not wanted or target.name.lower().startswith(wanted)]
    figures = {target.name: Figures() for target in left}
    for _ in range(options.rounds):
        for target in tuple(left):
            try:
                _ask(target, case, options.seconds, figures[target.name])
            except (ProcessError, subprocess.CalledProcessError, wrk.WrkError) as error:
                print(f"  {target.name} does not serve: {' '.join(str(error).split())[-300:]}", flush=True)
                left.remove(target)
    return {target.name: figures[target.name] for target in left}


def _ask(target: Target, case: Case, seconds: int, figures: Figures) -> None:
    own = case.directory / f"{target.name}-{free_port()}".replace(" ", "-")
    own.mkdir()
    place = Place(model=case.model, port=free_port(), directory=own)
    body = own / "body.json"
    body.write_text(json.dumps(target.body(COLUMNS, case.rows)))
    with running(target.command(place), log=own / "log", env=environ(target, place), cwd=own) as process:
        url = f"http://127.0.0.1:{place.port}"
        process.wait_for_http(url + target.ready, seconds=PATIENCE)
        wrk.load(url + target.path, body, connections=max(case.connections), seconds=WARM)
        time.sleep(SETTLE)
        for count in case.connections:
            before = processor_seconds(process.popen.pid)
            load = wrk.load(url + target.path, body, connections=count, seconds=seconds)
            used = processor_seconds(process.popen.pid) - before
            figures.add(count, load, used / max(1.0, load.rate * seconds) * 1000)
        figures.memory.append(memory(process.popen.pid))


def saved(model: str, target: Path) -> Path:
    """Return the directory `target`, in which benchmarks/save_model.py has saved the model."""
    if not target.exists():
        command: list[str | Path] = [python_of("mlflow-3.17"), Path(__file__).with_name("save_model.py"), model, target]
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
