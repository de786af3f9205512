"""mlflow-model.ipynb leaves a version in the registry that can be served."""

import json

import pytest
import yaml

from model_contract.names import TAG_PROJECT_ID
from testbed.gate import API, PASSWORD, PROJECT, Json
from testbed.notebooks import outputs, pictures
from tests.examples.conftest import NAME, Executed

# Executed once, for the first test: half a minute, and more if the machine is busy.
pytestmark = pytest.mark.timeout(1800)


def test_notebook_registers_a_version_of_the_project(trained: Executed) -> None:
    version = trained.version()

    assert version["status"] == "READY"
    assert trained.tags()[TAG_PROJECT_ID] == PROJECT


def test_notebook_registers_the_best_of_its_runs(trained: Executed) -> None:
    experiment = trained.get(f"experiments/get-by-name?experiment_name={NAME}")["experiment"]["experiment_id"]
    search = {"experiment_ids": [experiment]}
    runs = trained.gate.ask("POST", f"{API}/runs/search", search, trained.gate.basic("jane")).json["runs"]

    errors = {run["info"]["run_id"]: metric(run, "rmse") for run in runs}
    explained = {run["info"]["run_id"]: metric(run, "r2") for run in runs}

    assert len(errors) == 6
    assert trained.version()["run_id"] == min(errors, key=lambda run: errors[run])
    assert max(explained.values()) > 0.2


def test_logged_model_has_a_signature_an_example_and_its_libraries(trained: Executed) -> None:
    directory = next(trained.gate.server.artifacts.rglob("MLmodel")).parent
    description = yaml.safe_load((directory / "MLmodel").read_text())
    columns = json.loads(description["signature"]["inputs"])

    assert columns[-1]["name"] == "alcohol"
    assert {column["type"] for column in columns} == {"double"}
    assert description["saved_input_example_info"]["artifact_path"] == "input_example.json"
    assert "scikit-learn==" in (directory / "requirements.txt").read_text()


def test_notebook_shows_plots_and_no_error(trained: Executed) -> None:
    kinds = [output["output_type"] for output in outputs(trained.notebook)]

    assert len(pictures(trained.notebook)) == 4
    assert "error" not in kinds


def test_notebook_says_that_it_is_done(trained: Executed) -> None:
    last = outputs(trained.notebook)[-1]

    assert last["text"] == "wine-quality, version 1, is what was trained here. Next: deploy-to-staging.ipynb\n"


def test_notebook_shows_no_secret(trained: Executed) -> None:
    shown = json.dumps(trained.notebook)

    assert "MLFLOW_TRACKING_PASSWORD   is set" in shown
    assert PASSWORD not in shown


def test_audit_log_names_who_ran_it(trained: Executed) -> None:
    made = [line for line in trained.gate.lines() if line.get("model") == NAME and line.get("op") == "create_version"]

    assert [(line["decision"], line["actor"]["name"]) for line in made] == [("allow", trained.person)]


def metric(run: Json, name: str) -> float:
    return float(next(metric["value"] for metric in run["data"]["metrics"] if metric["key"] == name))
