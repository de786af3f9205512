"""Predictions for three wines, from the model API, the runtime's server and MLflow."""

import csv
import json
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from demo.context import NAME, DemoContext, jane_environment
from demo.staging import Staged
from testbed.domino.pods import CONTAINER, environ, mounts
from testbed.gate import Gate
from testbed.notebooks import PROJECT_FOLDER
from testbed.processes import free_port, installed
from testbed.runtime_server import WITH_MLFLOW

DATA: Final = PROJECT_FOLDER / "data" / "wine-quality.csv"
REFERENCE: Final = Path(__file__).parent / "reference.py"

Rows = dict[str, list[Any]]  # pandas' "split" form, without an index


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """The predictions for the same three rows, by the part that made them."""

    function: list[float]
    server: list[float]
    mlflow: list[float]


def three_wines() -> Rows:
    with DATA.open() as file:
        head, *rows = [
            row[:-1] for row, _ in zip(csv.reader(file), range(4), strict=False)
        ]  # the last column is what is predicted
    return {"columns": head, "data": [[float(value) for value in row] for row in rows]}


def serve(context: DemoContext, staged: Staged) -> str:
    """Start the runtime's own server with the same pod's model, and return its address."""
    port = free_port()
    endpoint = f"http://127.0.0.1:{port}"
    command = [str(installed("model-api-runtime")), "serve", "--host", "127.0.0.1", "--port", str(port)]
    with context.terminal.step("Serve the same pod's model outside of Domino: model-api-runtime serve"):
        container = staged.running.running_container(
            CONTAINER, command, environ=environ() | mounts(staged.running), imported=WITH_MLFLOW
        )
        process = context.processes.enter_context(container)
        process.wait_for_http(f"{endpoint}/readyz")
        context.terminal.note(f"{endpoint} is ready: model loaded, its example predicted")
    return endpoint


def ask(context: DemoContext, gate: Gate, staged: Staged, endpoint: str) -> Answers:
    with context.terminal.step("Ask for the quality of three wines, in three ways"):
        rows = three_wines()
        answers = Answers(
            function=ask_function(staged.url, rows),
            server=post(f"{endpoint}/invocations", {"dataframe_split": rows})["predictions"],
            mlflow=ask_mlflow(gate, staged.version, rows),
        )
        context.terminal.note(f"the model API in Domino: model.py        {shown(answers.function)}")
        context.terminal.note(f"the runtime's server: POST /invocations  {shown(answers.server)}")
        context.terminal.note(f"mlflow.pyfunc, full MLflow 3.17          {shown(answers.mlflow)}")
    return answers


def ask_function(url: str, rows: Rows) -> list[float]:
    """Call the function `predict` of model.py, as Domino calls it."""
    columns = dict(zip(rows["columns"], map(list, zip(*rows["data"], strict=True)), strict=True))
    predictions: list[float] = post(url, {"data": {"vars": columns}})["result"]
    return predictions


def ask_mlflow(gate: Gate, version: int, rows: Rows) -> list[float]:
    output = gate.server.run(REFERENCE, f"models:/{NAME}/{version}", json.dumps(rows), env=jane_environment(gate))
    predictions: list[float] = json.loads(output.splitlines()[-1])
    return predictions


def post(url: str, body: dict[str, Any]) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})  # noqa: S310  a loopback address of ours
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310  as above
        return json.load(answer)


def shown(predictions: list[float]) -> str:
    return "  ".join(f"{value:.6f}" for value in predictions)
