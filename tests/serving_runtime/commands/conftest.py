"""Commands as a shell runs them, but in this process: the model's libraries are loaded once."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest

from serving_runtime.cli import main


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]) -> Run:
    """Run a command with `stdin`, without variables of this machine."""

    def ran(*arguments: str | Path, stdin: bytes = b"") -> Ended:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
        capfdbinary.readouterr()
        code = main([str(argument) for argument in arguments])
        sys.stdout.flush()
        out, err = capfdbinary.readouterr()
        return Ended(code=int(code), out=out.decode(), err=err.decode())

    for name in ("MLFLOW_ARTIFACTS_PATH", "MLFLOW_MODEL_NAME", "MLFLOW_MODEL_VERSION"):
        monkeypatch.setenv(name, "")  # what a command sets is taken back with it
    return ran
