"""Cost of the gate: reads and a large artifact, past it, through it, and through nginx as a plain proxy, in one run."""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.nginx import nginx
from benchmarks.wrk import Load, reads
from model_contract.tokens import Purpose
from testbed.gate import API, Gate, gate
from testbed.mlflow_server import mlflow_server

CONNECTIONS: Final = (1, 16)
ROUNDS: Final = 3  # each way in turn, so that a machine that slows down does so for all
MEBIBYTE: Final = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to MLflow."""

    title: str
    uri: str
    headers: Mapping[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gate", description="Cost of the gate.")
    parser.add_argument("--mebibytes", type=int, default=1024, help="of the artifact")
    parser.add_argument("--seconds", type=int, default=5, help="of each load")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            mlflow_server("3.17", folder / "mlflow") as server,
            gate(server, folder / "gate", own_process=True) as found,
            nginx(server.uri, folder / "nginx") as proxy,
        ):
            registry(found, proxy, options.seconds)
            artifact(found, proxy, folder, options.mebibytes)
    return 0


def registry(found: Gate, proxy: str, seconds_each: int) -> None:
    found.ask("POST", f"{API}/registered-models/create", {"name": "wine"}, found.basic("jane"))
    ways = (
        Way(title="MLflow alone", uri=found.server.uri, headers={}),
        Way(title="through nginx", uri=proxy, headers={}),
        Way(title="through the gate, a person", uri=found.uri, headers=found.basic("jane")),
        Way(title="through the gate, a pull token", uri=found.uri, headers=found.bearer(Purpose.PULL)),
    )
    loads: dict[tuple[str, int], list[Load]] = {}
    for _ in range(ROUNDS):
        for connections in CONNECTIONS:
            for way in ways:
                load = reads(
                    f"{way.uri}{API}/registered-models/get?name=wine",
                    way.headers,
                    connections=connections,
                    seconds=seconds_each,
                )
                loads.setdefault((way.title, connections), []).append(load)
    print("a registered model read, requests per second (p50, p99 in ms) at", CONNECTIONS, "connections")
    for way in ways:
        cells = [median(loads[way.title, connections]) for connections in CONNECTIONS]
        print(f"  {way.title:32}", *(f"{cell.rate:7.0f} ({cell.p50:.1f}, {cell.p99:.1f})" for cell in cells))
    alone, through = (
        [median(loads[ways[number].title, connections]) for connections in CONNECTIONS] for number in (0, 3)
    )
    print(
        f"a pull token adds {through[0].p50 - alone[0].p50:.1f} ms to the p50 at 1, and has"
        f" {through[1].rate / alone[1].rate:.2f} at 16"
    )


def median(loads: Sequence[Load]) -> Load:
    return Load(
        **{field: statistics.median(getattr(load, field) for load in loads) for field in ("rate", "p50", "p99")}
    )


def artifact(found: Gate, proxy: str, folder: Path, mebibytes: int) -> None:
    large = folder / "large.bin"
    with large.open("wb") as file:
        file.truncate(mebibytes * MEBIBYTE)
    jane = found.basic("jane")
    experiment = found.ask("POST", f"{API}/experiments/create", {"name": "large"}, jane).json["experiment_id"]
    run = found.ask("POST", f"{API}/runs/create", {"experiment_id": experiment}, jane).json["run"]["info"]["run_id"]
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/large.bin"
    times: dict[tuple[str, str], list[float]] = {}
    ways = {"MLflow alone": found.server.uri, "through nginx": proxy, "through the gate": found.uri}
    for _ in range(ROUNDS):
        for title, uri in ways.items():
            curl = ["curl", "--silent", "--fail", "--header", f"Authorization: {jane['Authorization']}", f"{uri}{path}"]
            times.setdefault((title, "up"), []).append(seconds(*curl, "--upload-file", str(large)))
            times.setdefault((title, "down"), []).append(seconds(*curl, "--output", str(folder / "back.bin")))
    rate = {key: mebibytes / statistics.median(values) for key, values in times.items()}
    for title in ways:
        print(f"{mebibytes} MiB, {title:18} up {rate[title, 'up']:5.0f} MiB/s, down {rate[title, 'down']:5.0f} MiB/s")
    share = {way: rate["through the gate", way] / rate["MLflow alone", way] for way in ("up", "down")}
    print(f"the gate has {share['up']:.2f} of MLflow's rate up, {share['down']:.2f} down")
    status = Path(f"/proc/{found.process.popen.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"most memory of the gate: {peak / 1024:.0f} MiB")


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
