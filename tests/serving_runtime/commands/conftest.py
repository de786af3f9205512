"""Commands as a shell runs them, but in this process or in a fork: the model's libraries are loaded once."""

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import TextIO

import pytest
import yaml

from serving_runtime.cli import main
from testbed.forks import server_for
from testbed.processes import PATIENCE
from testbed.runtime_server import LIBRARIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]
IN_PYTHON = """
class Model:
    def predict(self, data):
        return data["fixed acidity"].to_numpy() * 2


def _load_pyfunc(path):
    return Model()
"""


@pytest.fixture(scope="session")
def light_wine(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with the signature of `wine`, for tests of new processes: they need not import scikit-learn."""
    directory = tmp_path_factory.mktemp("light-wine")
    (directory / "code").mkdir()
    (directory / "code" / "light_wine.py").write_text(IN_PYTHON)
    signature = yaml.safe_load((models / "wine" / "MLmodel").read_text())["signature"]
    function = {"loader_module": "light_wine", "code": "code"}
    document = {"flavors": {"python_function": function}, "signature": signature}
    (directory / "MLmodel").write_text(yaml.safe_dump(document))
    return directory


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command with `stdin`, or `given` in its place, without variables of this machine."""

    def ran(*arguments: str | Path, stdin: bytes = b"", given: TextIO | bool | None = False) -> Ended:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)) if given is False else given)
        capfdbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(code=int(code), out=out.decode(), err=err.decode())

    for name in ("MLFLOW_ARTIFACTS_PATH", "MLFLOW_MODEL_NAME", "MLFLOW_MODEL_VERSION"):
        monkeypatch.setenv(name, "")  # what a command sets is taken back with it
    return ran


@pytest.fixture
def run_with_pipe(tmp_path: Path) -> Run:
    """Run a command in a process of its own, whose standard input is a pipe."""

    def ran(*arguments: str | Path, stdin: bytes) -> Ended:
        pipe, out, err = (tmp_path / name for name in ("pipe", "out", "err"))
        os.mkfifo(pipe)
        command = [sys.executable, "-m", "serving_runtime", *arguments]
        process = server_for(command, LIBRARIES).start(command, env=os.environ, given=pipe, output=out, errors=err)
        pipe.write_bytes(stdin)
        return Ended(code=process.wait(PATIENCE), out=out.read_text(), err=err.read_text())

    return ran
