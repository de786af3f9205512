"""Reads and promotions through the gate, beside no slow clients and beside 1,000 of them, in one run."""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from model_contract.tokens import Purpose
from testbed.gate import API, Gate, gate
from testbed.mlflow_server import mlflow_server
from testbed.slow_clients import head_of, slow_clients

MEBIBYTE: Final = 1024 * 1024
LARGE: Final = 64  # MiB of the file that slow clients begin to download
SETTLING: Final = 1.0  # seconds, in which the gate has seen what slow clients sent


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """Objects that are read and moved; `large` is the path of a large file, `small` of a small one."""

    name: str
    large: str
    small: str
    versions: Iterator[str]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="benchmarks.gate_slow_clients", description=__doc__)
    parser.add_argument("--clients", type=int, default=1000, help="slow ones")
    parser.add_argument("--rounds", type=int, default=50, help="of one read, one download and one promotion")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            mlflow_server("3.17", folder / "mlflow") as server,
            gate(server, folder / "gate", own_process=True) as found,
        ):
            model = made(found)
            rows = {
                "beside none": measured(found, model, options.rounds),
                **{
                    f"beside {options.clients} that send {kind}": beside(found, model, options, sent)
                    for kind, sent in kinds(found, model).items()
                },
                f"beside {options.clients}, of each kind a part": beside(
                    found, model, options, *kinds(found, model).values()
                ),
                "beside none again": measured(found, model, options.rounds),
            }
    print("through the gate, median and slowest in ms; answers that were not 200")
    print(f"  {'':52} {'read':>16} {'small download':>16} {'promotion':>16} {'failed':>7}")
    for title, (cells, failed) in rows.items():
        print(
            f"  {title:52}",
            *(f"{statistics.median(cell) * 1000:8.1f} {max(cell) * 1000:7.0f}" for cell in cells),
            f"{failed:7}",
        )
    return 1 if any(failed for _, failed in rows.values()) else 0


def made(found: Gate) -> Model:
    jane, name = found.basic("jane"), "wine"
    experiment = found.ask("POST", f"{API}/experiments/create", {"name": name}, jane).json["experiment_id"]
    run = found.ask("POST", f"{API}/runs/create", {"experiment_id": experiment}, jane).json["run"]["info"]["run_id"]
    files = f"/api/2.0/mlflow-artifacts/artifacts/{experiment}/{run}/artifacts"
    found.ask("PUT", f"{files}/large.bin", bytes(LARGE * MEBIBYTE), jane)
    found.ask("PUT", f"{files}/model/MLmodel", b"flavors: {}\n", jane)
    found.ask("POST", f"{API}/registered-models/create", {"name": name}, jane)

    def versions() -> Iterator[str]:
        """Each in Staging."""
        while True:
            body = {"name": name, "source": f"runs:/{run}/model", "run_id": run}
            version = str(
                found.ask("POST", f"{API}/model-versions/create", body, jane).json["model_version"]["version"]
            )
            found.ask(
                "POST",
                f"{API}/model-versions/transition-stage",
                {"name": name, "version": version, "stage": "Staging"},
                jane,
            )
            yield version

    return Model(name=name, large=f"{files}/large.bin", small=f"{files}/model/MLmodel", versions=versions())


def kinds(found: Gate, model: Model) -> Mapping[str, bytes]:
    """Return the requests of slow clients; the one person among them is not among those that are measured."""
    both, length = found.basic("both"), {"Content-Length": "1000000"}
    return {
        "half a head": head_of("GET", "/version")[:-4],
        "half a body, unknown": head_of("GET", "/version", length) + b"x",
        "half an upload": head_of("PUT", f"{model.large}.new", both | length) + b"x",
        "a download and read nothing": head_of("GET", model.large, both),
        "one request and stay": head_of("GET", "/livez"),
    }


def beside(found: Gate, model: Model, options: argparse.Namespace, *sent: bytes) -> tuple[list[list[float]], int]:
    with slow_clients(found.uri, options.clients, sent, receives=4096):
        time.sleep(SETTLING)
        return measured(found, model, options.rounds)


def measured(found: Gate, model: Model, rounds: int) -> tuple[list[list[float]], int]:
    """Return the seconds of each read, download and promotion, and the number of failures."""
    pull, promote = found.bearer(Purpose.PULL), found.bearer(Purpose.PROMOTE)
    move = {"name": model.name, "stage": "Production", "archive_existing_versions": True}
    times: list[list[float]] = [[], [], []]
    failed = 0
    for _ in range(rounds):
        body = move | {"version": next(model.versions)}
        for cell, (method, path, sent, headers) in zip(
            times,
            (
                ("GET", f"{API}/registered-models/get?name={model.name}", None, pull),
                ("GET", model.small, None, pull),
                ("POST", f"{API}/model-versions/transition-stage", body, promote),
            ),
            strict=True,
        ):
            began = time.perf_counter()
            failed += found.ask(method, path, sent, headers).status != HTTPStatus.OK
            cell.append(time.perf_counter() - began)
    return times, failed


if __name__ == "__main__":
    sys.exit(main())
