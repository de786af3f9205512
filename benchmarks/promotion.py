"""Time of a promotion of 50 models, with digests recorded at Staging, through the gate; and of a check of 1 MiB.

`python -m benchmarks.promotion [--times 3] [--mlflow 3.17 ...]`
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from model_contract.names import TRACKING_URI
from model_lifecycle.digests import digest_of, record
from model_lifecycle.registry import Registry
from model_lifecycle.tracking import Credentials, Tracking
from testbed.gate import PASSWORD, PROJECT, Gate, gate
from testbed.lifecycle import MEMBER, Model, environment, new_model, write_file
from testbed.mlflow_server import VERSIONS, mlflow_server
from testbed.processes import installed

MODELS: Final = 50
WORKERS: Final = 4  # of MLflow, as `mlflow server` has it
MEBIBYTE: Final = 1024 * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=3, help="each is measured")
    parser.add_argument("--mlflow", nargs="*", default=VERSIONS, help="versions")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        validation(folder, options.times)
        for version in options.mlflow:
            with (
                mlflow_server(version, folder / version, workers=WORKERS) as server,
                gate(server, folder / f"gate-{version}", own_process=True) as found,
            ):
                promotion(found, folder, options.times)
    return 0


def validation(folder: Path, times: int) -> None:
    file = folder / "large.json"
    entries = [{"name": f"model-{number:05}", "version": number} for number in range(1, 25_000)]
    while len(text := json.dumps({PROJECT: entries})) > MEBIBYTE:
        entries = entries[:-200]
    file.write_text(text)
    seconds = [timed("validate", file) for _ in range(times)]
    print(
        f"validate, {len(text) / MEBIBYTE:.2f} MiB, {len(entries)} models: median {statistics.median(seconds):.2f} s of"
        f" {times}"
    )


def promotion(found: Gate, folder: Path, times: int) -> None:
    """Promote versions over others that are in Production already, as usual."""
    models = [new_model(found) for _ in range(MODELS)]
    seconds, again = [], []
    for number in range(times + 1):
        staged = [(model, model.version()) for model in models]
        for (
            model,
            version,
        ) in staged:  # after all files: for a write, the gate looks up the versions promoted since a move
            model.stage(version)
        record_digests(found, staged)
        file = write_file(folder / "model_version.json", *staged)
        took = timed("promote", file, env=environment(found))
        if number:  # the first one finds Production empty
            seconds.append(took)
            again.append(timed("promote", file, env=environment(found)))
    first, second = statistics.median(seconds), statistics.median(again)
    print(
        f"promote, MLflow {found.server.version}, {MODELS} models: median {first:.2f} s of {times}; again, nothing to"
        f" do: {second:.2f} s"
    )


def record_digests(found: Gate, staged: list[tuple[Model, str]]) -> None:
    person = Credentials(environ={"MLFLOW_TRACKING_USERNAME": MEMBER, "MLFLOW_TRACKING_PASSWORD": PASSWORD})
    with Registry(Tracking(uri=found.uri, authorization=person.for_any_project())) as registry:
        for model, number in staged:
            version = registry.version(model.name, number)
            record(registry, version, digest_of(registry, version))


def timed(*command: str | Path, env: dict[str, str] | None = None) -> float:
    began = time.perf_counter()
    kept = {name: value for name, value in os.environ.items() if name != TRACKING_URI}
    subprocess.run([installed("model-api"), *command], env=env or kept, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
