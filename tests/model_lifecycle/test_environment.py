"""An environment that is wrong ends a command with a sentence that names the variable, before anything is asked."""

from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from testbed.lifecycle import run

FILE = '{"66c0a1b2c3d4e5f601234567": [{"name": "wine", "version": 1}]}'


@pytest.mark.parametrize(
    "variable",
    [
        "SSL_CERT_FILE=/nowhere",
        "SSL_CERT_FILE=/",
        "SSL_CERT_FILE=/etc/hostname",
        "SSL_CERT_DIR=/nowhere",
        "MLFLOW_TRACKING_SERVER_CERT_PATH=/nowhere",
        "MLFLOW_TRACKING_CLIENT_CERT_PATH=/nowhere",
        "MLFLOW_TRACKING_INSECURE_TLS=true",
        "MLFLOW_TRACKING_AUTH=kerberos",
        "MLFLOW_TRACKING_TOKEN=hunter2 x",
        "MLFLOW_TRACKING_URI=https://hunter2@",
        "MLFLOW_TRACKING_URI=https://mlflow:99999",
        "HTTPS_PROXY=http://hunter2:x@[",
        "HTTP_PROXY=socks5://hunter2@proxy:1080",
    ],
)
def test_a_wrong_variable_is_named_and_not_shown(tmp_path: Path, variable: str) -> None:
    name, _, value = variable.partition("=")
    (tmp_path / "models.json").write_text(FILE)
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "MLFLOW_TRACKING_URI": "https://127.0.0.1:9",
        name: value,
    }
    ended = run(environment, "plan", tmp_path / "models.json", "--retries=0")

    assert ended.code == ExitCode.INVALID_INPUT, ended.err
    assert name in ended.err + ended.out
    assert "hunter2" not in ended.err + ended.out
    assert "Traceback" not in ended.err
