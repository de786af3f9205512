"""Time to bring a model from an S3 server to this disk: ours by each way, curl, rclone and MLflow's client.

`python -m benchmarks.delivery_s3 [--times 3] [--large-mib 1024] [--small 2000] [--many 10000]`

The server is versitygw; curl gets presigned URLs. rclone is Debian's, and left out if it is not installed.
"curl, checked and synced" does what ours does: its files are hashed by openssl, and brought to the disk.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Final

import obstore
from obstore.store import S3Store

from benchmarks.delivery import (
    CONNECTIONS,
    DOWNLOAD,
    FEW,
    MEBIBYTE,
    SMALL_BYTES,
    WORKERS,
    Client,
    compare,
    copy_by_curl,
    execute,
    there_already,
)
from benchmarks.machine import describe, peak_memory
from model_contract.model_ref import ModelRef
from testbed.mlflow_server import MlflowServer, client_environment, mlflow_server
from testbed.object_stores import post, register, s3_bucket
from testbed.s3_server import S3Server, s3_server

VALID: Final = timedelta(hours=6)


class OnS3:
    """A model in S3, registered by its address and, as the artifact of a run, behind MLflow."""

    def __init__(
        self, server: MlflowServer, s3: S3Server, bucket: S3Store, name: str, sizes: Mapping[str, int]
    ) -> None:
        self.server, self.s3, self.bucket = server, s3, bucket
        self.sizes = {"MLmodel": 12, **sizes}
        experiment = post(server.uri, "experiments/create", name=name)["experiment_id"]
        run = post(server.uri, "runs/create", experiment_id=experiment)["run"]["info"]["run_id"]
        self.path = f"artifacts/{experiment}/{run}/artifacts/model"
        for file, size in self.sizes.items():
            bucket.put(f"{self.path}/{file}", random_pieces(size))
        self.by_address = register(server.uri, f"{name} by address", f"s3://mlflow/{self.path}")
        self.behind = register(server.uri, f"{name} behind", f"runs:/{run}/model", run_id=run)

    def clients(self) -> dict[str, Client]:
        large = len(self.sizes) <= FEW
        urls = obstore.sign(self.bucket, "GET", [f"{self.path}/{file}" for file in self.sizes], VALID)
        addresses = dict(zip(self.sizes, urls, strict=True))
        at_once = ["--parallel", "--parallel-max", str(CONNECTIONS)]
        found: dict[str, Client | None] = {
            "ours, object store": partial(self.ours, self.by_address, {"MODEL_API_OBJECT_STORES": "s3://mlflow"}),
            "ours, presigned": partial(self.ours, self.behind, {"MODEL_API_PRESIGNED_HOSTS": self.s3.endpoint})
            if large
            else None,
            "ours, MLflow's proxy": partial(self.ours, self.behind, {}),
            "curl": partial(self.curl, addresses, []) if large else None,
            "curl, checked and synced": partial(self.curl_checked, addresses) if large else None,
            f"curl -Z, {CONNECTIONS} connections": partial(self.curl, addresses, at_once),
            "rclone": self.rclone if shutil.which("rclone") else None,
            "MLflow's client": self.mlflow_client,
        }
        return {name: client for name, client in found.items() if client}

    def ours(self, ref: ModelRef, environment: Mapping[str, str], target: Path) -> None:
        execute(self.command(ref, target), {**self.environment(), **environment})

    def command(self, ref: ModelRef, target: Path) -> list[str]:
        named = [f"--run-id={ref.run_id}", f"--owner={ref.owner}", f"--model={ref.name}", f"--version={ref.version}"]
        return [sys.executable, "-m", "model_delivery", "fetch", f"--store={target}", *named]

    def curl(self, addresses: Mapping[str, str], options: list[str], target: Path) -> None:
        copy_by_curl(addresses, target, options, self.environment())

    def curl_checked(self, addresses: Mapping[str, str], target: Path) -> None:
        self.curl(addresses, [], target)
        files = [str(target / path) for path in addresses]
        execute(["openssl", "dgst", "-sha256", *files], self.environment())  # coreutils' takes four times as long
        execute(["sync", *files], self.environment())

    def rclone(self, target: Path) -> None:
        how = ["--s3-provider=Other", "--s3-env-auth", f"--s3-endpoint={self.s3.endpoint}", "--s3-no-check-bucket"]
        streams = [f"--transfers={CONNECTIONS}", f"--multi-thread-streams={CONNECTIONS}", "--multi-thread-cutoff=32Mi"]
        execute(["rclone", "copy", *how, *streams, f":s3:mlflow/{self.path}", str(target)], self.environment())

    def mlflow_client(self, target: Path) -> None:
        execute([str(self.server.python), "-c", DOWNLOAD, f"s3://mlflow/{self.path}", str(target)], self.environment())

    def environment(self) -> dict[str, str]:
        # rclone ends if this machine names authorities for AWS, although it speaks plain HTTP here.
        kept = {name: value for name, value in client_environment().items() if name != "AWS_CA_BUNDLE"}
        return kept | {
            **self.s3.environment,
            "MLFLOW_S3_ENDPOINT_URL": self.s3.endpoint,
            "MLFLOW_TRACKING_URI": self.server.uri,
        }


def random_pieces(size: int) -> Iterator[bytes]:
    for begin in range(0, size, MEBIBYTE):
        yield os.urandom(min(MEBIBYTE, size - begin))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="rounds")
    parser.add_argument("--large-mib", type=int, default=1024, help="size of the one large file")
    parser.add_argument("--small", type=int, default=2000, help="number of files of 16 KiB")
    parser.add_argument("--many", type=int, default=10_000, help="number of files of 1 KiB, for the memory")
    options = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as name, s3_server(Path(name) / "s3") as s3:
        bucket, directory = s3_bucket(s3, "mlflow"), Path(name)
        variables = {**s3.environment, "MLFLOW_S3_ENDPOINT_URL": s3.endpoint}
        with mlflow_server(
            "3.17", directory / "mlflow", workers=WORKERS, artifacts="s3://mlflow/artifacts", env=variables
        ) as server:
            for title, sizes in (
                (f"{options.large_mib} MiB in one file", {"weights.bin": options.large_mib * MEBIBYTE}),
                (f"{options.small} files of 16 KiB", {f"part-{n:05}": SMALL_BYTES for n in range(options.small)}),
            ):
                model = OnS3(server, s3, bucket, title, sizes)
                found = model.clients()
                servers = (server.process.popen.pid, s3.process.popen.pid)
                compare(f"{title}, S3", found, model.sizes, directory, times=options.times, servers=servers)
                there_already(found["ours, object store"], directory, options.times)
                print_memory(model, directory)
            print_memory(OnS3(server, s3, bucket, "many", {f"p{n:05}": 1024 for n in range(options.many)}), directory)
    return 0


def print_memory(model: OnS3, directory: Path) -> None:
    """Print the most memory of a fetch from the object store."""
    target = directory / "target"
    target.mkdir()
    environment = model.environment() | {"MODEL_API_OBJECT_STORES": "s3://mlflow"}
    with subprocess.Popen(
        model.command(model.by_address, target),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        peak = peak_memory(process)
    if process.returncode:
        raise SystemExit(f"the fetch ended with {process.returncode}")
    shutil.rmtree(target)
    print(f"most memory, {len(model.sizes)} files from the object store: {peak:.0f} MiB", flush=True)


if __name__ == "__main__":
    sys.exit(main())
