"""The parts that every step of the demo needs: directory, processes, terminal and MLflow."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.terminal import Terminal
from testbed.gate import PASSWORD, PROJECT, Gate, gate
from testbed.mlflow_server import client_environment, mlflow_server
from testbed.processes import installed

NAME: Final = "wine-quality"
JANE: Final = "jane"  # a data scientist, one of the people that the gate knows


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoContext:
    """A temporary directory, the processes that end with it, and the terminal."""

    directory: Path
    processes: ExitStack
    terminal: Terminal


def jane_environment(gate: Gate) -> dict[str, str]:
    """Return the variables that make a client of MLflow Jane."""
    return {"MLFLOW_TRACKING_URI": gate.uri, "MLFLOW_TRACKING_USERNAME": JANE, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


def model_api(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command `model-api` to its end, with any exit code."""
    command = [str(installed("model-api")), *arguments]
    environment = client_environment() | {"COLUMNS": os.environ.get("COLUMNS", "120")} | dict(environ)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def start_mlflow(context: DemoContext) -> Gate:
    with context.terminal.step("Start a real MLflow, and the gate in front of it"):
        server = context.processes.enter_context(mlflow_server("3.17", context.directory / "mlflow"))
        started = context.processes.enter_context(gate(server, context.directory / "gate"))
        context.terminal.note("MLflow 3.17: registry in SQLite, artifacts on disk; only the gate talks to it")
        context.terminal.note(
            f"the gate at {started.uri} knows {JANE} by her password, and project {PROJECT} by two tokens:"
        )
        context.terminal.note("one with which its pods may read, one with which its CI may promote")
    return started
