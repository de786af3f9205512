"""Directory, processes and people of the demo."""

import os
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from demo.narrator import Narrator
from testbed.gate import PASSWORD, Gate
from testbed.mlflow_server import client_environment
from testbed.processes import installed

NAME: Final = "wine-quality"
JANE: Final = "jane"  # a data scientist, one of the people that the gate knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A directory that is deleted at the end, processes that end with it, and the narrator."""

    directory: Path
    processes: ExitStack
    say: Narrator


def janes(gate: Gate) -> dict[str, str]:
    """Return the variables with which a client of MLflow is Jane."""
    return {"MLFLOW_TRACKING_URI": gate.uri, "MLFLOW_TRACKING_USERNAME": JANE, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


def model_api(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command `model-api` to its end, whatever its exit code."""
    command = [str(installed("model-api")), *arguments]
    environment = client_environment() | {"COLUMNS": os.environ.get("COLUMNS", "120")} | dict(environ)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
