"""Delivery of a registered model to this machine, by the program `model-api-delivery`."""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from urllib.parse import quote

from model_contract.exit_codes import ExitCode
from model_contract.layout import model_directory
from model_contract.model_ref import ModelRef
from model_contract.names import MODEL_NAME, MODEL_OWNER, MODEL_VERSION, RUN_ID, TRACKING_URI
from serving_runtime.commands.cli_errors import CommandError, InputFileError

PROGRAM: Final = "model_delivery"
OPTIONS: Final = {"--model": MODEL_NAME, "--owner": MODEL_OWNER, "--version": MODEL_VERSION, "--run-id": RUN_ID}


class DeliveryError(CommandError):
    """The delivery ended with a code of its own."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = ExitCode(code)


def deliver(uri: str, store: str | None, environ: Mapping[str, str]) -> Path:
    """Return the directory of the version that the URI names now; it is fetched unless it is there.

    Raises CommandError.
    """
    if find_spec(PROGRAM) is None:
        raise InputFileError(
            "--model needs model-api-delivery, which is not installed here; fetch the model, and set --model-path"
        )
    variables = json.loads(_output("resolve", uri))
    model = ModelRef.from_variables(variables)
    if model is None:
        raise CommandError("model-api-delivery resolve printed no model")
    server = hashlib.sha256(environ.get(TRACKING_URI, "").encode()).hexdigest()[:12]
    directory = _store(store) / server / quote(model.name, safe="") / model.version
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputFileError(f"{directory} cannot be written: {error.strerror}; set --model-store") from None
    named = [f"{option}={variables[variable]}" for option, variable in OPTIONS.items()]
    _output("fetch", f"--store={directory}", *named)
    return directory / model_directory(model.owner, model.run_id)


def _store(named: str | None) -> Path:
    if named:
        return Path(named)
    try:
        return Path("~/.cache/mlflow-model-api/models").expanduser()
    except RuntimeError:
        raise InputFileError("this user has no home directory; set --model-store") from None


def _output(*arguments: str) -> str:
    """Return the output of a command of the delivery. Raises DeliveryError with its reason and its code."""
    with tempfile.NamedTemporaryFile("r") as log:
        command = [sys.executable, "-P", "-m", PROGRAM, *arguments, f"--termination-log={log.name}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = log.read().strip() or done.stderr.strip().rpartition("\n")[2]
            raise DeliveryError(done.returncode if done.returncode in set(ExitCode) else ExitCode.UNEXPECTED, reason)
        return done.stdout
