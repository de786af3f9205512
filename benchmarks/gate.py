"""What the gate costs: registry reads and a large artifact, through it and past it, in one run."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from benchmarks.wrk import reads
from model_contract.tokens import Purpose
from testbed.gate import API, Gate, gate
from testbed.mlflow_server import mlflow_server

CONNECTIONS: Final = (1, 16)
GIBIBYTE: Final = 1024**3
TIMES: Final = 3


def main() -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with mlflow_server("3.17", folder / "mlflow") as server, gate(server, folder / "gate") as found:
            found.ask("POST", f"{API}/registered-models/create", {"name": "wine"}, found.basic("jane"))
            registry(found)
            artifact(found, folder)
    return 0


def registry(found: Gate) -> None:
    print("a registered model read, requests per second (p50, p99 in ms) at", CONNECTIONS, "connections")
    rows = [
        ("MLflow alone", found.server.uri, {}),
        ("through the gate, a person", found.uri, found.basic("jane")),
        ("through the gate, a pull token", found.uri, found.bearer(Purpose.PULL)),
    ]
    for title, uri, headers in rows:
        url = f"{uri}{API}/registered-models/get?name=wine"
        cells = [reads(url, headers, connections=connections) for connections in CONNECTIONS]
        print(f"  {title:32}", *(f"{cell.rate:7.0f} ({cell.p50:.1f}, {cell.p99:.1f})" for cell in cells))


def artifact(found: Gate, folder: Path) -> None:
    large = folder / "large.bin"
    with large.open("wb") as file:
        file.truncate(GIBIBYTE)
    jane = found.basic("jane")
    experiment = found.ask("POST", f"{API}/experiments/create", {"name": "large"}, jane).json["experiment_id"]
    run = found.ask("POST", f"{API}/runs/create", {"experiment_id": experiment}, jane).json["run"]["info"]["run_id"]
    path = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts/large.bin"
    for title, uri in (("MLflow alone", found.server.uri), ("through the gate", found.uri)):
        curl = ["curl", "--silent", "--fail", "--header", f"Authorization: {jane['Authorization']}", f"{uri}{path}"]
        up = statistics.median(seconds(*curl, "--upload-file", str(large)) for _ in range(TIMES))
        down = statistics.median(seconds(*curl, "--output", str(folder / "back.bin")) for _ in range(TIMES))
        print(f"1 GiB, {title:18} up {1024 / up:5.0f} MiB/s, down {1024 / down:5.0f} MiB/s")
    status = Path(f"/proc/{found.process.popen.pid}/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(f"most memory of the gate: {peak / 1024:.0f} MiB")


def seconds(*command: str) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
