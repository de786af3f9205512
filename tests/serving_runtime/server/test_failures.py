"""A server that cannot serve ends, with a code and one sentence that says why."""

import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.names import MODEL_OWNER, RUN_ID
from serving_runtime.settings import OPTIONS
from testbed.runtime_server import COMMAND, RuntimeServer

Start = Callable[..., RuntimeServer]


def why(server: RuntimeServer) -> str:
    """Return the only line that is no line of the log."""
    (line,) = [line for line in server.process.log.read_text().splitlines() if not line.startswith("{")]
    return line


@pytest.mark.parametrize(
    ("model", "code", "reason"),
    [
        ("nowhere", ExitCode.NOT_FOUND, "there is no directory"),
        ("", ExitCode.NOT_FOUND, "holds more than one model"),
        ("broken", ExitCode.UNEXPECTED, "RuntimeError: the weights are not there"),
    ],
    ids=["no directory", "many models", "a model that does not load"],
)
def test_model_that_is_not_there_or_does_not_load_ends_the_server(
    start: Start, models: Path, model: str, code: ExitCode, reason: str
) -> None:
    server = start(models / model)

    assert server.exit_code() == code
    assert why(server).startswith("error: ")
    assert reason in why(server)


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("forgetful", "the model does not predict its own input example"),
        ("fragile", "a worker ended before its model had made a prediction"),
    ],
)
def test_model_that_cannot_be_warmed_ends_the_server(start: Start, hard_models: Path, model: str, reason: str) -> None:
    server = start(hard_models / model, "--workers", "2")

    assert server.exit_code() == ExitCode.UNEXPECTED
    assert reason in why(server)


def test_model_of_other_libraries_is_not_served_if_they_must_match(start: Start, models: Path, tmp_path: Path) -> None:
    copied = shutil.copytree(models / "wine", tmp_path / "wine")
    (copied / "requirements.txt").write_text("scikit-learn==0.1\n")
    (copied / "python_env.yaml").write_text("python: 3.8.1\n")

    server = start(copied, "--require-match", "true")

    assert server.exit_code() == ExitCode.UNEXPECTED
    assert "the model was saved with 3.8.1" in why(server)
    assert why(server).endswith("the model was saved with 0.1; to repair it: pip install scikit-learn==0.1")


@pytest.mark.parametrize(
    ("flags", "environ", "named"),
    [
        ((), {}, [MODEL_OWNER, RUN_ID]),
        ((), {MODEL_OWNER: "../x", RUN_ID: "a" * 32}, [MODEL_OWNER, '"../x"']),
        (("--workers", "0"), {}, ["--workers", '"0"']),
        ((), {"MODEL_API_RUNTIME_TIMEOUT": "soon"}, ["MODEL_API_RUNTIME_TIMEOUT", '"soon"']),
        (("--host", "192.0.2.1", "--model-path", "."), {}, ["192.0.2.1", "--host"]),
    ],
    ids=["no variables", "a variable", "a flag", "a setting", "an address of another machine"],
)
def test_wrong_setting_ends_the_server_and_is_named(
    start: Start, models: Path, flags: tuple[str, ...], environ: dict[str, str], named: list[str]
) -> None:
    server = start(None, *(str(models / "wine") if flag == "." else flag for flag in flags), environ=environ)

    assert server.exit_code() == ExitCode.INVALID_INPUT
    assert [part for part in named if part not in why(server)] == []


def test_port_in_use_ends_the_server_and_is_named(start: Start, models: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        server = start(models / "wine", "--port", str(port))

        assert server.exit_code() == ExitCode.INVALID_INPUT
        assert f"port {port}: Address already in use" in why(server)


def test_unknown_flag_is_a_usage_error() -> None:
    done = subprocess.run([*COMMAND, "--bogus"], capture_output=True, text=True, check=False)

    assert done.returncode == ExitCode.USAGE
    assert "--bogus" in done.stderr


def test_help_names_every_flag_and_its_variable() -> None:
    text = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, text=True, check=True, env={"COLUMNS": "400"}
    ).stdout

    assert [option.option for option in OPTIONS if option.option not in text or option.variable not in text] == []
