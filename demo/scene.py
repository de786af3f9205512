"""Where the story plays, and who plays in it."""

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
    """A directory that goes away, processes that end with it, somebody who tells."""

    directory: Path
    processes: ExitStack
    say: Narrator


def janes(gate: Gate) -> dict[str, str]:
    """All that a client of MLflow needs to be Jane."""
    return {"MLFLOW_TRACKING_URI": gate.uri, "MLFLOW_TRACKING_USERNAME": JANE, "MLFLOW_TRACKING_PASSWORD": PASSWORD}


def model_api(*arguments: str, environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """The command `model-api`, run to its end, whatever that is."""
    command = [str(installed("model-api")), *arguments]
    environment = client_environment() | {"COLUMNS": os.environ.get("COLUMNS", "120")} | dict(environ)
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
