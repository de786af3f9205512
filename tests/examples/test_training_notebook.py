"""mlflow-model.ipynb, executed in front of each MLflow by somebody of the project, through the gate."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from model_contract.names import TAG_PROJECT_ID
from testbed.environments import python_of
from testbed.gate import API, PASSWORD, PROJECT, Gate, Json
from testbed.mlflow_server import client_environment
from testbed.notebooks import PROJECT_FOLDER, executed, outputs, pictures

NAME = "wine-quality"
NOTEBOOK = PROJECT_FOLDER / "mlflow-model.ipynb"
# With MLflow 2 the notebook is run by somebody who has two projects, and says in the variable of Domino's workspaces which one is meant.
PEOPLE: dict[str, dict[str, str]] = {
    "3.17": {"MLFLOW_TRACKING_USERNAME": "jane"},
    "2.22": {"MLFLOW_TRACKING_USERNAME": "both", "DOMINO_PROJECT_ID": PROJECT},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The executed notebook, and the registry that it wrote to."""

    notebook: Any
    gate: Gate

    def version(self) -> Json:
        """As Jane sees it."""
        path = f"{API}/model-versions/get?name={NAME}&version=1"
        found: Json = self.gate.ask("GET", path, headers=self.gate.basic("jane")).json["model_version"]
        return found

    def run(self) -> Json:
        path = f"{API}/runs/get?run_id={self.version()['run_id']}"
        found: Json = self.gate.ask("GET", path, headers=self.gate.basic("jane")).json["run"]["data"]
        return found

    def description(self) -> Json:
        """The file MLmodel."""
        file = next(file for file in self.gate.server.artifacts.rglob("MLmodel"))
        found: Json = yaml.safe_load(file.read_text())
        return found


@pytest.fixture(scope="session")
def trained(any_gate: Gate) -> Iterator[Trained]:
    who = {"MLFLOW_TRACKING_URI": any_gate.uri, "MLFLOW_TRACKING_PASSWORD": PASSWORD} | PEOPLE[any_gate.server.version]
    # The client of MLflow 3 cannot log a model to a server of version 2.
    python = Path(sys.executable) if any_gate.server.version == "3.17" else python_of("mlflow-2.22")
    yield Trained(notebook=executed(NOTEBOOK, client_environment() | who, python=python), gate=any_gate)


def test_notebook_registers_a_version_of_the_project(trained: Trained) -> None:
    version = trained.version()

    assert version["status"] == "READY"
    assert version["current_stage"] == "None"
    assert {"key": TAG_PROJECT_ID, "value": PROJECT} in version["tags"]


def test_notebook_registers_the_best_of_its_runs(trained: Trained) -> None:
    found = trained.gate.ask("POST", f"{API}/runs/search", {"experiment_ids": experiment(trained)}, trained.gate.basic("jane")).json["runs"]

    errors = {run["info"]["run_id"]: metric(run["data"], "rmse") for run in found}

    assert len(errors) == 6
    assert trained.version()["run_id"] == min(errors, key=lambda run: errors[run])
    assert metric(trained.run(), "r2") > 0.1


def test_logged_model_has_a_signature_an_example_and_its_libraries(trained: Trained) -> None:
    description = trained.description()
    columns = json.loads(description["signature"]["inputs"])

    assert [column["name"] for column in columns][-1] == "alcohol"
    assert {column["type"] for column in columns} == {"double"}
    assert description["saved_input_example_info"]["artifact_path"] == "input_example.json"
    requirements = next(trained.gate.server.artifacts.rglob("requirements.txt")).read_text()
    assert "scikit-learn==" in requirements


def test_notebook_shows_plots_and_no_error(trained: Trained) -> None:
    kinds = [output["output_type"] for output in outputs(trained.notebook)]

    assert len(pictures(trained.notebook)) == 4
    assert "error" not in kinds


def test_notebook_says_that_it_is_done(trained: Trained) -> None:
    last = outputs(trained.notebook)[-1]

    assert last["text"] == "wine-quality, version 1, is what was trained here. Next: deploy-to-staging.ipynb\n"


def test_notebook_shows_no_secret(trained: Trained) -> None:
    shown = json.dumps(trained.notebook)

    assert "MLFLOW_TRACKING_PASSWORD   is set" in shown
    assert PASSWORD not in shown


def test_audit_log_names_who_ran_it(trained: Trained) -> None:
    made = [line for line in trained.gate.lines() if line.get("model") == NAME and line["decision"] == "allow"]

    assert {line["actor"]["name"] for line in made} == {PEOPLE[trained.gate.server.version]["MLFLOW_TRACKING_USERNAME"]}


def experiment(trained: Trained) -> list[str]:
    path = f"{API}/experiments/get-by-name?experiment_name={NAME}"
    return [trained.gate.ask("GET", path, headers=trained.gate.basic("jane")).json["experiment"]["experiment_id"]]


def metric(data: Json, name: str) -> float:
    return float(next(metric["value"] for metric in data["metrics"] if metric["key"] == name))
