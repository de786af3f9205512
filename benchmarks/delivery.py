"""Time to bring a model from MLflow's server to this disk: ours with digests, curl and MLflow's client without.

`python -m benchmarks.delivery [--times 3] [--mlflow 3.17 ...] [--large-mib 1024] [--small 2000]`

All clients take their turn in each round, so that they meet the same machine.
"""

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from benchmarks.machine import describe, processor_seconds
from model_contract.model_ref import ModelRef
from model_delivery.mlflow_api import ARTIFACTS
from testbed.mlflow_server import VERSIONS, MlflowServer, client_environment, mlflow_server

WORKERS: Final = 4  # of MLflow, as `mlflow server` has it
CONNECTIONS: Final = 8  # of curl -Z, as of ours
FEW: Final = 100  # files that curl takes one after the other in a time that is worth a comparison
MEBIBYTE: Final = 1 << 20
SMALL_BYTES: Final = 16 << 10
REGISTER: Final = """
import sys, mlflow, pathlib
client = mlflow.MlflowClient()
run = client.create_run(client.create_experiment(sys.argv[1])).info
place = pathlib.Path(sys.argv[2]) / run.artifact_uri.removeprefix("mlflow-artifacts:/") / "model"
client.create_registered_model(sys.argv[1])
client.create_model_version(sys.argv[1], f"runs:/{run.run_id}/model", run.run_id)
print(run.run_id, place.relative_to(sys.argv[2]))
"""
DOWNLOAD: Final = (
    "import sys, mlflow; mlflow.artifacts.download_artifacts(artifact_uri=sys.argv[1], dst_path=sys.argv[2])"
)

Client = Callable[[Path], None]  # brings the files into a directory


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model, and the path of its files below the server's artifacts."""

    ref: ModelRef
    source: str
    files: tuple[str, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="rounds")
    parser.add_argument("--mlflow", nargs="*", default=VERSIONS, help="versions")
    parser.add_argument("--large-mib", type=int, default=1024, help="size of the one large file")
    parser.add_argument("--small", type=int, default=2000, help="number of files of 16 KiB")
    options = parser.parse_args()
    print(describe())
    for version in options.mlflow:
        with (
            tempfile.TemporaryDirectory() as name,
            mlflow_server(version, Path(name) / "server", workers=WORKERS) as server,
        ):
            large = new_model(server, "large", {"weights.bin": options.large_mib * MEBIBYTE})
            small = new_model(server, "small", {f"part-{number:05}": SMALL_BYTES for number in range(options.small)})
            behind = f"MLflow {version} with {WORKERS} workers"
            for model, title in (
                (large, f"{options.large_mib} MiB in one file"),
                (small, f"{options.small} files of 16 KiB"),
            ):
                found = clients(server, model)
                servers = (server.process.popen.pid,)
                compare(f"{title}, {behind}", found, model.files, Path(name), times=options.times, servers=servers)
                there_already(found["model-api-delivery"], Path(name), options.times)
    return 0


def new_model(server: MlflowServer, name: str, sizes: dict[str, int]) -> Model:
    """Register a model and put its files of random bytes into the server's artifacts."""
    script = server.directory / "register.py"
    script.write_text(REGISTER)
    run_id, source = server.run(script, name, str(server.artifacts)).splitlines()[-1].split()
    directory = server.artifacts / source
    directory.mkdir(parents=True)
    sizes = {"MLmodel": 12, **sizes}
    for path, size in sizes.items():
        with (directory / path).open("wb") as output:
            for begin in range(0, size, MEBIBYTE):
                output.write(os.urandom(min(MEBIBYTE, size - begin)))
    ref = ModelRef(name=name, version="1", owner="jane.doe", run_id=run_id)
    return Model(ref=ref, source=source, files=tuple(sizes))


def clients(server: MlflowServer, model: Model) -> dict[str, Client]:
    found: dict[str, Callable[[MlflowServer, Model, Path], None]] = {
        "model-api-delivery": ours,
        "curl": curl,
        f"curl -Z, {CONNECTIONS} connections": curl_parallel,
        "MLflow's client": mlflow_client,
    }
    if len(model.files) > FEW:  # curl would take one after the other
        del found["curl"]
    return {name: partial(client, server, model) for name, client in found.items()}


def compare(  # noqa: PLR0913  a table has a title, rows, columns and a number of rounds
    title: str,
    clients: Mapping[str, Client],
    files: Collection[str],
    directory: Path,
    *,
    times: int,
    servers: Collection[int],
) -> None:
    """Let each client bring the files into an empty directory, in turn, and print medians.

    `servers` are processes. Their processor time and the client's, divided by the cores, is the least time there is.
    """
    seconds: dict[str, list[float]] = {name: [] for name in clients}
    processor: dict[str, list[float]] = {name: [] for name in clients}
    served: dict[str, list[float]] = {name: [] for name in clients}
    for _ in range(times):
        for name, client in clients.items():
            target = directory / "target"
            target.mkdir()
            began, used, before = time.perf_counter(), clients_processor_seconds(), sum(map(processor_seconds, servers))
            client(target)
            seconds[name].append(time.perf_counter() - began)
            processor[name].append(clients_processor_seconds() - used)
            served[name].append(sum(map(processor_seconds, servers)) - before)
            check(files, target)
            shutil.rmtree(target)
    print(f"\n{title}", flush=True)
    for name, found in seconds.items():
        print(
            f"{name:36} median {statistics.median(found):6.2f} s of {times}, {min(found):.2f} to {max(found):.2f};"
            f" processor {statistics.median(processor[name]):5.2f} s, of the servers"
            f" {statistics.median(served[name]):5.2f} s",
            flush=True,
        )


def there_already(client: Client, directory: Path, times: int) -> None:
    """Print how long ours takes if the model is there."""
    target, seconds = directory / "target", []
    target.mkdir()
    client(target)
    for _ in range(times):
        began = time.perf_counter()
        client(target)
        seconds.append(time.perf_counter() - began)
    shutil.rmtree(target)
    print(f"{'there already':36} median {statistics.median(seconds):6.2f} s of {times}", flush=True)


def clients_processor_seconds() -> float:
    """Return what the clients that have ended took of the processors."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def check(files: Collection[str], target: Path) -> None:
    arrived = {path.name for path in target.rglob("*") if path.is_file()}
    if missing := set(files) - arrived:
        raise SystemExit(f"{len(missing)} files did not arrive")


def ours(server: MlflowServer, model: Model, target: Path) -> None:
    run([sys.executable, "-m", "model_delivery", *arguments(model, target)], server)


def arguments(model: Model, target: Path) -> list[str]:
    ref = model.ref
    named = [f"--run-id={ref.run_id}", f"--owner={ref.owner}", f"--model={ref.name}", f"--version={ref.version}"]
    return ["fetch", f"--store={target}", *named]


def curl(server: MlflowServer, model: Model, target: Path) -> None:
    run_curl(server, model, target, [])


def curl_parallel(server: MlflowServer, model: Model, target: Path) -> None:
    run_curl(server, model, target, ["--parallel", "--parallel-max", str(CONNECTIONS)])


def run_curl(server: MlflowServer, model: Model, target: Path, options: Iterable[str]) -> None:
    addresses = {path: f"{server.uri}{ARTIFACTS}/{model.source}/{path}" for path in model.files}
    copy_by_curl(addresses, target, options, client_environment())


def copy_by_curl(
    addresses: Mapping[str, str], target: Path, options: Iterable[str], environment: Mapping[str, str]
) -> None:
    config = target / "curl.config"
    config.write_text("".join(f'url = "{uri}"\noutput = "{target / path}"\n' for path, uri in addresses.items()))
    command = ["curl", "--silent", "--show-error", "--fail", *options, "--config", str(config)]
    execute(command, environment)


def mlflow_client(server: MlflowServer, model: Model, target: Path) -> None:
    run([str(server.python), "-c", DOWNLOAD, f"mlflow-artifacts:/{model.source}", str(target)], server)


def run(command: list[str], server: MlflowServer, **environment: str) -> None:
    execute(command, client_environment() | {"MLFLOW_TRACKING_URI": server.uri} | environment)


def execute(command: list[str], environment: Mapping[str, str]) -> None:
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
