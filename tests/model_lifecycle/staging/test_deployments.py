"""MLflow's own command and client, with Domino as the target."""

import io
import json
from typing import Any

import pandas as pd
import pytest
from mlflow.deployments import cli, get_deploy_client
from mlflow.exceptions import MlflowException

from model_contract.exit_codes import ExitCode
from model_contract.names import TAG_MODEL_ID
from model_lifecycle import stage
from model_lifecycle.progress import ProgressLines
from testbed.gate import API

ROWS = {"columns": ["alcohol", "pH"], "data": [[9.4, 3.51], [10.1, 3.2]]}


@pytest.fixture
def in_workspace(workspace: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give this process the variables of the workspace."""
    for name, value in workspace.environ().items():
        monkeypatch.setenv(name, value)
    return workspace


def deployments(workspace: Any, command: str, *arguments: str) -> Any:
    return workspace.run("mlflow", "deployments", command, "-t", "domino", *arguments)


@pytest.mark.timeout(1800)  # it may be the first that needs the whole installation
def test_mlflow_deploys_to_domino_and_takes_it_back(in_workspace: Any) -> None:
    workspace, client = in_workspace, get_deploy_client("domino")
    name, number = workspace.name, workspace.number("mlflow")
    (workspace.directory / "rows.json").write_text(
        json.dumps([dict(zip(ROWS["columns"], row, strict=True)) for row in ROWS["data"]])
    )

    created = deployments(workspace, "create", "--name", name, "-m", f"models:/{name}/{number}")

    assert created.returncode == 0, created.stderr
    assert f"python_function deployment {name} is created" in created.stdout
    [model] = workspace.model_apis(number)
    assert workspace.aliases()["staging"] == number

    shown, listed = client.get_deployment(name), client.list_deployments()
    predicted = deployments(workspace, "predict", "--name", f"{name}/{number}", "-I", "rows.json")

    assert (shown["model_id"], shown["version"], shown["status"], shown["aliases"]) == (
        model.id,
        number,
        "Running",
        ["staging"],
    )
    assert json.loads(predicted.stdout)["predictions"] == workspace.predictions(number)
    assert {"name": f"{name}/{number}", "stage": "Staging", "model_id": model.id} in listed

    deleted = deployments(workspace, "delete", "--name", f"{name}/{number}")

    assert deleted.returncode == 0, deleted.stderr
    assert workspace.model_apis(number) == []
    assert model.newest.id not in workspace.domino.pods()
    assert workspace.version(number)["current_stage"] == "Archived"
    assert TAG_MODEL_ID not in workspace.tags(number)
    assert "staging" not in workspace.aliases()
    with pytest.raises(MlflowException, match="has no model API"):
        client.get_deployment(f"{name}/{number}")


def test_model_api_of_a_production_version_is_not_deleted(in_workspace: Any, serving: str) -> None:
    client = get_deploy_client("domino")
    [before], other = in_workspace.model_apis(serving), in_workspace.number("lost")
    body = {"name": in_workspace.name, "version": other, "key": TAG_MODEL_ID, "value": before.id}
    assert (
        in_workspace.gate.ask("POST", f"{API}/model-versions/set-tag", body, in_workspace.gate.basic("jane")).status
        == 200
    )

    with pytest.raises(MlflowException, match="is in Production"):
        client.delete_deployment(f"{in_workspace.name}/{serving}")
    with pytest.raises(MlflowException, match=f"is that of version {serving}, too"):
        client.delete_deployment(f"{in_workspace.name}/{other}")

    assert in_workspace.model_apis(serving) == [before]


def test_notebook_stages_and_predicts(in_workspace: Any, staged: str) -> None:
    done = stage(in_workspace.name, int(staged), progress=ProgressLines(io.StringIO()))
    client = get_deploy_client("domino")

    predicted = client.predict(f"{in_workspace.name}/{staged}", pd.DataFrame(**ROWS))

    assert done.result == in_workspace.predictions(staged)
    assert predicted["predictions"] == in_workspace.predictions(staged)
    assert in_workspace.aliases()["staging"] == staged


WRONG = {
    "another name": (
        ["create", "--name=other", "--model-uri=models:/wine/2"],
        "has the name of its model: --name wine",
    ),
    "a name with @": (["create", "--name=wine", "--model-uri=models:/team@wine/2"], "--name team@wine"),
    "a name with @, by its alias": (
        ["create", "--name=wine", "--model-uri=models:/team@wine@staging"],
        "--name team@wine",
    ),
    "a run": (["create", "--name=wine", "--model-uri=runs:/0/model"], "names no registered version"),
    "an unknown setting": (
        ["create", "--name=wine", "--model-uri=models:/wine/2", "--config=speed=1"],
        "-C speed is not known",
    ),
    "a setting of another kind": (
        ["create", "--name=wine", "--model-uri=models:/wine/2", "--config=wait=long"],
        "-C wait='long'",
    ),
    "another flavor": (
        ["create", "--name=wine", "--model-uri=models:/wine/2", "--flavor=sklearn"],
        "leave --flavor out",
    ),
    "an endpoint": (["create", "--name=wine", "--model-uri=models:/wine/2", "--endpoint=all"], "leave --endpoint out"),
    "no version": (["update", "--name=wine"], "-m models:/wine/3"),
    "a local run": (["run-local", "--name=wine", "--model-uri=models:/wine/2"], "model-api-runtime serve"),
    "a name that is none": (["get", "--name=wine/two"], "names no deployment"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_error_of_a_command_is_one_sentence(in_workspace: Any, capfd: pytest.CaptureFixture[str], wrong: str) -> None:
    (command, *arguments), said = WRONG[wrong]

    with pytest.raises(SystemExit) as ended:
        cli.commands([command, "--target=domino", *arguments])

    assert ended.value.code == ExitCode.INVALID_INPUT
    assert said in capfd.readouterr().err


@pytest.mark.parametrize("name", ["team@wine/2", "team@wine@production"])
def test_deployment_of_a_name_with_an_at_sign_is_looked_for(
    in_workspace: Any, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.commands(["get", "--target=domino", f"--name={name}"])

    assert ended.value.code == ExitCode.NOT_FOUND
    assert "name=team@wine not found" in capfd.readouterr().err


def test_help_names_every_setting(capfd: pytest.CaptureFixture[str]) -> None:
    from model_lifecycle.deployments import CONFIG  # noqa: PLC0415  it imports MLflow, as only the plugin does

    with pytest.raises(SystemExit):
        cli.commands(["help", "--target=domino"])

    printed = capfd.readouterr().out
    assert [key for key in CONFIG if f"-C {key}=" not in printed] == []
