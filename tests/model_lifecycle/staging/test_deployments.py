"""MLflow's own command and client, with Domino as the target."""

import ast
import json
from typing import Any

import mlflow.deployments
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_MODEL_ID
from model_lifecycle import stage
from model_lifecycle.staging.progress import Silent
from testbed.gate import API

ROWS = {"columns": ["alcohol", "pH"], "data": [[9.4, 3.51], [10.1, 3.2]]}


@pytest.fixture
def in_workspace(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The variables of the workspace are those of this process."""
    for name, value in workspace.environ().items():
        monkeypatch.setenv(name, value)
    return workspace


def deployments(workspace: Any, command: str, *arguments: str) -> Any:
    return workspace.run("mlflow", "deployments", command, "-t", "domino", *arguments)


def test_mlflow_deploys_to_domino_and_takes_it_back(workspace: Any) -> None:
    name = workspace.name
    (workspace.directory / "rows.json").write_text(json.dumps([dict(zip(ROWS["columns"], row, strict=True)) for row in ROWS["data"]]))

    created = deployments(workspace, "create", "--name", name, "-m", f"models:/{name}/7")

    assert created.returncode == 0, created.stderr
    assert f"python_function deployment {name} is created" in created.stdout
    [model] = workspace.model_apis("7")
    assert workspace.aliases()["staging"] == "7"

    shown, predicted = (
        deployments(workspace, "get", "--name", name),
        deployments(workspace, "predict", "--name", f"{name}/7", "-I", "rows.json"),
    )
    listed = deployments(workspace, "list")

    assert f"model_id: {model.id}\n" in shown.stdout
    assert "status: Running\n" in shown.stdout
    assert json.loads(predicted.stdout)["predictions"] == workspace.predictions("7")
    assert {"name": f"{name}/7", "stage": "Staging", "model_id": model.id} in ast.literal_eval(listed.stdout.splitlines()[-1])

    deleted, again = deployments(workspace, "delete", "--name", f"{name}/7"), deployments(workspace, "get", "--name", f"{name}/7")

    assert deleted.returncode == 0, deleted.stderr
    assert workspace.model_apis("7") == []
    assert model.newest.id not in workspace.domino.pods()
    assert workspace.version("7")["current_stage"] == "Archived"
    assert TAG_MODEL_ID not in workspace.tags("7")
    assert "staging" not in workspace.aliases()
    assert again.returncode == ExitCode.NOT_FOUND


def test_what_serves_production_is_not_deleted(in_workspace: Any) -> None:
    client = mlflow.deployments.get_deploy_client("domino")
    [serving] = in_workspace.model_apis("1")
    body = {"name": in_workspace.name, "version": "6", "key": TAG_MODEL_ID, "value": serving.id}
    assert in_workspace.gate.ask("POST", f"{API}/model-versions/set-tag", body, in_workspace.gate.basic("jane")).status == 200

    with pytest.raises(MlflowException, match="is in Production"):
        client.delete_deployment(f"{in_workspace.name}/1")
    with pytest.raises(MlflowException, match="is that of version 1, too"):
        client.delete_deployment(f"{in_workspace.name}/6")

    assert in_workspace.model_apis("1") == [serving]


def test_notebook_stages_and_predicts(in_workspace: Any) -> None:
    staged = stage(in_workspace.name, 2, progress=Silent())
    client = mlflow.deployments.get_deploy_client("domino")

    predicted = client.predict(f"{in_workspace.name}/2", pd.DataFrame(**ROWS))

    assert staged.result == in_workspace.predictions("2")
    assert predicted["predictions"] == in_workspace.predictions("2")
    assert in_workspace.aliases()["staging"] == "2"


WRONG = {
    "another name": (["create", "--name=other", "-m=models:/wine/2"], "has the name of its model: --name wine"),
    "a run": (["create", "--name=wine", "-m=runs:/0/model"], "names no registered version"),
    "an unknown setting": (["create", "--name=wine", "-m=models:/wine/2", "-C=speed=1"], "-C speed is not known"),
    "a setting of another kind": (["create", "--name=wine", "-m=models:/wine/2", "-C=wait=long"], "-C wait='long'"),
    "another flavor": (["create", "--name=wine", "-m=models:/wine/2", "-f=sklearn"], "leave --flavor out"),
    "an endpoint": (["create", "--name=wine", "-m=models:/wine/2", "--endpoint=all"], "leave --endpoint out"),
    "no version": (["update", "--name=wine"], "-m models:/wine/3"),
    "a local run": (["run-local", "--name=wine", "-m=models:/wine/2"], "model-api-runtime serve"),
    "a name that is none": (["get", "--name=wine/two"], "names no deployment"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_cannot_be_done_is_one_sentence(in_workspace: Any, capfd: pytest.CaptureFixture[str], wrong: str) -> None:
    (command, *arguments), said = WRONG[wrong]

    with pytest.raises(SystemExit) as ended:
        mlflow.deployments.cli.commands([command, "-t=domino", *arguments])

    assert ended.value.code == ExitCode.INVALID_INPUT
    assert said in capfd.readouterr().err


def test_help_names_every_setting(capfd: pytest.CaptureFixture[str]) -> None:
    from model_lifecycle.deployments import CONFIG  # noqa: PLC0415  it imports MLflow, as only the plugin does

    with pytest.raises(SystemExit):
        mlflow.deployments.cli.commands(["help", "-t=domino"])

    printed = capfd.readouterr().out
    assert [key for key in CONFIG if f"-C {key}=" not in printed] == []
