"""`resolve`: the version that a URI of MLflow names, asked of real servers of both versions."""

import json
import os
import subprocess

import pytest

from model_contract.exit_codes import ExitCode
from testbed.delivery import COMMAND
from testbed.registered import Registered


def resolved(registered: Registered, uri: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "MLFLOW_TRACKING_URI": registered.uri}
    command = [*COMMAND, "resolve", uri, "--owner=jane.doe", "--tries=1"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("uri", ["models:/delivery plain/1", "models:///delivery plain/1"])
def test_version_is_printed_as_the_four_variables(uri: str, mlflow_any: Registered) -> None:
    ended = resolved(mlflow_any, uri)

    assert ended.returncode == ExitCode.DONE, ended.stderr
    assert json.loads(ended.stdout) == mlflow_any.ref("plain").variables()


def test_run_with_several_versions_lists_them(mlflow_any: Registered) -> None:
    run_id = mlflow_any.versions["plain"]["run_id"]

    ended = resolved(mlflow_any, f"runs:/{run_id}/model")

    assert ended.returncode == ExitCode.INVALID_INPUT
    assert "models:/delivery plain/1" in ended.stderr
    assert "models:/delivery plain again/1" in ended.stderr


@pytest.mark.parametrize(
    ("uri", "code", "reason"),
    [
        (
            "models:/delivery plain@none",
            ExitCode.NOT_FOUND,
            "model 'delivery plain' has no alias 'none'; its aliases: none",
        ),
        ("models:/delivery none/1", ExitCode.NOT_FOUND, "version 1 of model 'delivery none'"),
        ("models:/team@wine/1", ExitCode.NOT_FOUND, "version 1 of model 'team@wine'"),
        ("models:/team@wine@none", ExitCode.NOT_FOUND, "model 'team@wine'"),
        (f"runs:/{'1' * 32}/model", ExitCode.NOT_FOUND, "register one with mlflow.register_model"),
        ("models:/delivery plain/Production", ExitCode.INVALID_INPUT, "models:/delivery plain@production"),
        (
            "models:/delivery plain/latest",
            ExitCode.INVALID_INPUT,
            "names the newest version; name the alias, such as models:/delivery plain@production",
        ),
        ("s3://bucket/model", ExitCode.INVALID_INPUT, "is no URI of a model"),
        ("", ExitCode.INVALID_INPUT, "is no URI of a model"),
    ],
)
def test_uri_that_names_no_version_says_what_to_do(
    uri: str, code: ExitCode, reason: str, mlflow_any: Registered
) -> None:
    ended = resolved(mlflow_any, uri)

    assert (ended.returncode, reason in ended.stderr) == (code, True), ended.stderr
