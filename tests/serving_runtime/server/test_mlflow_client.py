"""MLflow's own client of a scoring server finds nothing missing."""

import json
import subprocess
from pathlib import Path

import pytest

from testbed.environments import python_of
from testbed.runtime_server import RuntimeServer

SCRIPT = Path(__file__).parent / "scripts" / "ask_server.py"


def test_mlflows_client_gets_what_the_model_predicts(wine: RuntimeServer, models: Path) -> None:
    command = [python_of("mlflow-3.17"), SCRIPT, str(wine.port), models / "wine"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=models)
    answers = json.loads(done.stdout.splitlines()[-1])

    assert answers["version"] is True
    assert answers["served"] == pytest.approx(answers["direct"])
