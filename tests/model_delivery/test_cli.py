import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ModelRef
from model_contract.names import MODEL_VARIABLES
from testbed.delivery import Delivery
from testbed.registered import Registered


@pytest.fixture
def nowhere(tmp_path: Path) -> Delivery:
    """A store, and no MLflow."""
    return Delivery(directory=tmp_path, uri="http://127.0.0.1:9")


def test_with_none_of_the_four_variables_there_is_nothing_to_do(nowhere: Delivery) -> None:
    ended = nowhere.fetch(None)

    assert ended.code == ExitCode.DONE
    assert (
        ended.output
        == "nothing to fetch: none of MLFLOW_MODEL_NAME, MLFLOW_MODEL_OWNER, MLFLOW_MODEL_VERSION, MLFLOW_RUN_ID is"
        " set\n"
    )


@pytest.mark.parametrize("missing", MODEL_VARIABLES)
def test_a_missing_variable_is_named(nowhere: Delivery, missing: str) -> None:
    given = {name: "1" for name in MODEL_VARIABLES if name != missing}
    ended = replace(nowhere, environment=given).fetch(None)

    assert ended.code == ExitCode.INVALID_INPUT
    assert f"{missing} is not set" in ended.reason


def test_a_malformed_variable_is_refused_before_anything_is_made(nowhere: Delivery) -> None:
    ended = nowhere.fetch(None, "--owner=../x", "--run-id=r", "--model=m", "--version=1")

    assert ended.code == ExitCode.INVALID_INPUT
    assert 'MLFLOW_MODEL_OWNER is "../x"' in ended.reason
    assert list(nowhere.store.iterdir()) == []


def test_variables_of_sources_name_a_model_as_options_do(delivery: Delivery, mlflow_3: Registered) -> None:
    ref = mlflow_3.ref("plain")
    sources = {
        f"MODEL_API_SOURCE_{number}_{name}": value for number, (name, value) in enumerate(ref.variables().items())
    }
    ended = replace(delivery, environment=sources).fetch(None)

    assert ended.code == ExitCode.DONE, ended.output
    assert (delivery.model(ref) / "MLmodel").is_file()


@pytest.mark.parametrize("size", ["much", "0", "-1"])
def test_a_size_that_is_none_is_refused(nowhere: Delivery, size: str) -> None:
    ended = nowhere.fetch(ModelRef(name="m", version="1", owner="o", run_id="r"), f"--max-bytes={size}")

    assert ended.code == ExitCode.INVALID_INPUT
    assert "--max-bytes is " in ended.reason


@pytest.mark.parametrize(
    "options", [["--store"], ["--parallel=0"], ["--deadline=inf"], ["--unknown"], ["--stor=x"]], ids=" ".join
)
def test_wrong_usage_ends_with_its_own_code(nowhere: Delivery, options: list[str]) -> None:
    assert nowhere.fetch(None, *options).code == ExitCode.USAGE


def test_a_reader_that_has_gone_is_no_fault(nowhere: Delivery) -> None:
    command = [sys.executable, "-m", "model_delivery", "fetch", f"--store={nowhere.store}"]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as output:
        done = subprocess.run(command, env={}, stdout=output, stderr=subprocess.PIPE, check=False)

    assert (done.returncode, done.stderr) == (ExitCode.DONE, b"")


def test_a_termination_log_that_is_not_there_is_not_made(nowhere: Delivery) -> None:
    absent = nowhere.directory / "absent"
    ended = nowhere.fetch(None, "--owner=o", f"--termination-log={absent}")

    assert ended.code == ExitCode.INVALID_INPUT
    assert not absent.exists()


def test_the_command_imports_the_standard_library_only() -> None:
    code = """
import sys; sys.path.append(".")
import model_delivery.cli
print(sorted({name.partition(".")[0] for name in sys.modules} - {*sys.stdlib_module_names, "__main__"}))
"""
    listed = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)

    assert listed.stdout == "['model_contract', 'model_delivery']\n"
