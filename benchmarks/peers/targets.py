"""The servers that are measured: the start of each, and its request for the same prediction."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from testbed.environments import python_of
from testbed.processes import installed

HERE: Final = Path(__file__).parent
WORKERS: Final = "2"
Command = list[str | Path]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Settings of a server's start: its model's directory, its port, a directory of its own."""

    model: Path
    port: int
    directory: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server. `body` makes the request for rows of numbers; `ready` is a path that answers 200 once it is ready."""

    name: str
    command: Callable[[Place], Command]
    path: str
    body: Callable[[Sequence[str], Sequence[Sequence[float]]], Any]
    ready: str
    environ: Callable[[Place], Mapping[str, str]] = lambda _: {}


def split(columns: Sequence[str], rows: Sequence[Sequence[float]]) -> Any:
    return {"dataframe_split": {"columns": list(columns), "data": [list(row) for row in rows]}}


def _heads(columns: Sequence[str], rows: Sequence[Sequence[float]]) -> Any:
    cells = zip(*rows, strict=True)
    inputs = [
        {"name": name, "shape": [len(rows), 1], "datatype": "FP64", "data": list(values)}
        for name, values in zip(columns, cells, strict=True)
    ]
    return {"inputs": inputs}


def ours(place: Place) -> Command:
    module: Command = [sys.executable, "-m", "serving_runtime", "serve", "--host", "127.0.0.1", "--workers", WORKERS]
    return [*module, "--model-path", place.model, "--port", str(place.port)]


def _mlflow(workers: int) -> Callable[[Place], Command]:
    def command(place: Place) -> Command:
        serve: Command = [
            python_of("mlflow-3.17"),
            "-m",
            "mlflow",
            "models",
            "serve",
            "--model-uri",
            place.model,
            "--env-manager",
            "local",
        ]
        return [*serve, "--host", "127.0.0.1", "--port", str(place.port), "--workers", str(workers)]

    return command


def _mlserver(place: Place) -> Command:
    ports = {"http_port": place.port, "grpc_port": place.port + 1, "metrics_port": place.port + 2}
    settings = {"host": "127.0.0.1", "debug": False, "parallel_workers": int(WORKERS), **ports}
    model = {
        "name": "model",
        "implementation": "mlserver_mlflow.MLflowRuntime",
        "parameters": {"uri": str(place.model)},
    }
    (place.directory / "settings.json").write_text(json.dumps(settings))
    (place.directory / "model-settings.json").write_text(json.dumps(model))
    return [_beside("peer-mlserver", "mlserver"), "start", place.directory]


def _kserve(place: Place) -> Command:
    script: Command = [python_of("peer-kserve"), HERE / "kserve_server.py", place.model / "model.pkl"]
    return [*script, "--http_port", str(place.port), "--workers", WORKERS]


def _litserve(place: Place) -> Command:
    return [python_of("peer-litserve"), HERE / "litserve_server.py", place.model / "model.pkl", str(place.port)]


def _bentoml(place: Place) -> Command:
    serve: Command = [_beside("peer-bentoml", "bentoml"), "serve", "bentoml_service:Served", "--working-dir", HERE]
    return [*serve, "--host", "127.0.0.1", "--port", str(place.port)]


def _beside(environment: str, command: str) -> Path:
    return python_of(environment).with_name(command)


def _quiet(place: Place) -> Mapping[str, str]:
    return {
        "MODEL": str(place.model / "model.pkl"),
        "BENTOML_HOME": str(place.directory),
        "BENTOML_DO_NOT_TRACK": "true",
    }


def environ(target: Target, place: Place) -> dict[str, str]:
    """Return the environment of a peer, which calls programs of its own environment by their names."""
    path = f"{Path(target.command(place)[0]).parent}:{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "MLFLOW_DISABLE_TELEMETRY": "true", **target.environ(place)}


EMPTY: Final = Target(
    name="an empty answer, our server",
    command=lambda place: [installed("python"), "-m", "benchmarks.runtime_empty", str(place.port)],
    path="/invocations",
    body=split,
    ready="/",
)
TARGETS: Final = (
    Target(name="model-api-runtime", command=ours, path="/invocations", body=split, ready="/readyz"),
    Target(
        name="the same, --batch off",
        command=lambda place: [*ours(place), "--batch", "off"],
        path="/invocations",
        body=split,
        ready="/readyz",
    ),
    Target(name="MLflow, one worker", command=_mlflow(1), path="/invocations", body=split, ready="/ping"),
    Target(name="MLflow, two workers", command=_mlflow(2), path="/invocations", body=split, ready="/ping"),
    Target(
        name="MLServer", command=_mlserver, path="/v2/models/model/infer", body=_heads, ready="/v2/models/model/ready"
    ),
    Target(
        name="KServe (V1)",
        command=_kserve,
        path="/v1/models/model:predict",
        body=lambda _, rows: {"instances": [list(row) for row in rows]},
        ready="/v1/models/model",
    ),
    Target(
        name="LitServe, batches",
        command=_litserve,
        path="/predict",
        body=lambda _, rows: {"row": list(rows[0])},
        ready="/health",
    ),
    Target(
        name="BentoML",
        command=_bentoml,
        path="/predict",
        body=lambda _, rows: {"rows": [list(row) for row in rows]},
        ready="/readyz",
        environ=_quiet,
    ),
)
