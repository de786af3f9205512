"""MLflow's own client of a scoring server finds nothing missing."""

import json
from pathlib import Path

import pytest

from testbed.environments import python_of
from testbed.mlflow_server import MODULES, client_environment
from testbed.processes import completed
from testbed.runtime_server import RuntimeServer

SCRIPT = Path(__file__).parent / "scripts" / "ask_server.py"


def test_mlflows_client_gets_what_the_model_predicts(wine: RuntimeServer, models: Path) -> None:
    command = [python_of("mlflow-3.17"), SCRIPT, str(wine.port), models / "wine"]
    done = completed(command, env=client_environment(), cwd=models, imported=MODULES)
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout.splitlines()[-1])

    assert answers["version"] is True
    assert answers["served"] == pytest.approx(answers["direct"])
