"""The command `mlflow` with the given arguments, for `mlflow server`: its server runs in the same process.

MLflow's command starts another process, which imports MLflow once more: four seconds of processor.
"""

import os
import runpy
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import mlflow.cli
import mlflow.server


def run_here(command: Sequence[str], *, extra_env: Mapping[str, str], **_: Any) -> NoReturn:
    """Run the command of MLflow's server, which is an interpreter, `-m`, a module and its arguments."""
    os.environ.update(extra_env)
    for name in list(sys.modules):  # they have read the environment
        if name == "mlflow.server" or name.startswith("mlflow.server."):
            del sys.modules[name]
    sys.argv = list(command[2:])
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)
    sys.exit()


setattr(mlflow.server, "_exec_cmd", run_here)  # noqa: B010  MLflow does not export it
mlflow.cli.cli()
