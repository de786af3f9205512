"""Time from the start of a server to its first prediction: ours, MLflow's, and a script that only loads the file."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks.machine import describe
from testbed.environments import python_of
from testbed.processes import free_port, running

ROUNDS: Final = 5
PATIENCE: Final = 120  # seconds
BODY: Final = json.dumps(
    {"dataframe_split": {"columns": [f"measure {number}" for number in range(11)], "data": [[0.5] * 11]}}
).encode()
LOAD: Final = (
    "import pandas, sklearn, cloudpickle, sys; print(cloudpickle.load(open(sys.argv[1], 'rb')).predict([[0.5] * 11]))"
)


def main() -> None:
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        model = directory / "model"
        mlflow = python_of("mlflow-3.17")
        subprocess.run(
            [mlflow, Path(__file__).with_name("save_model.py"), "elastic-net", model],
            check=True,
            capture_output=True,
            cwd=directory,
        )
        ours: list[str | Path] = [
            sys.executable,
            "-m",
            "serving_runtime",
            "serve",
            "--model-path",
            model,
            "--host",
            "127.0.0.1",
        ]
        theirs: list[str | Path] = [
            mlflow,
            "-m",
            "mlflow",
            "models",
            "serve",
            "--model-uri",
            model,
            "--env-manager",
            "local",
            "--host",
            "127.0.0.1",
        ]
        starts: dict[str, Callable[[], float]] = {
            "load the model file, predict": lambda: load(model),
            "model-api-runtime serve": lambda: first_prediction(ours, directory),
            "mlflow models serve": lambda: first_prediction(theirs, directory),
        }
        measured: dict[str, list[float]] = {what: [] for what in starts}
        for _ in range(ROUNDS):  # in turn: what the machine does besides meets all of them
            for what, start in starts.items():
                measured[what].append(start())
    for what, seconds in measured.items():
        print(
            f"{what:<30} median {statistics.median(seconds):.2f} s, from {min(seconds):.2f} to {max(seconds):.2f} s of"
            f" {ROUNDS}"
        )


def load(model: Path) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", LOAD, model / "model.pkl"], check=True, capture_output=True)
    return time.perf_counter() - began


def first_prediction(command: Sequence[str | Path], directory: Path) -> float:
    port = free_port()
    began = time.perf_counter()
    # MLflow's command calls uvicorn by its name.
    environ = os.environ | {"PATH": f"{Path(command[0]).parent}:{os.environ['PATH']}"}
    with running([*command, "--port", str(port)], log=directory / "log", env=environ, cwd=directory) as process:
        while not predicts(port):
            if process.popen.poll() is not None or time.perf_counter() - began > PATIENCE:
                raise SystemExit(f"{command} does not serve:\n{process.tail()}")
            time.sleep(0.01)
        return time.perf_counter() - began


def predicts(port: int) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", BODY, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  as above
            return b"predictions" in answer.read()
    except OSError:
        return False


if __name__ == "__main__":
    main()
