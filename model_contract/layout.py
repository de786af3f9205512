"""Where a model's files lie: in the store that is filled, and in the container that serves.

A store has the same shape everywhere, an emptyDir or a shared claim:

    <store>/<owner>/<run_id>/artifacts/model/   the model, MLmodel at its root
    <store>/<owner>/<run_id>/manifest.json      its files, with sizes and digests
    <store>/.partial-<id>/                      the same shape while it is written, renamed whole
"""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from model_contract.model_ref import IncompleteVariablesError, validate
from model_contract.names import ARTIFACTS_PATH, MODEL_OWNER, RUN_ID

ARTIFACTS_ROOT: Final = "/artifacts/mlflow"
MODEL_DIRECTORY: Final = "artifacts/model"
MANIFEST: Final = "manifest.json"
PARTIAL_PREFIX: Final = ".partial-"
MLMODEL: Final = "MLmodel"


def run_directory(owner: str, run_id: str) -> str:
    """The directory of one run below the root of a store."""
    return f"{owner}/{run_id}"


def model_directory(owner: str, run_id: str) -> str:
    """The directory of one run's model below the root of a store; also the subPath that a container mounts."""
    return f"{run_directory(owner, run_id)}/{MODEL_DIRECTORY}"


def model_path(owner: str, run_id: str) -> str:
    """The absolute path at which a model API container finds its model."""
    return f"{ARTIFACTS_ROOT}/{model_directory(owner, run_id)}"


def model_path_from(environ: Mapping[str, str]) -> PurePosixPath:
    """The path of the model as the environment says: MLFLOW_ARTIFACTS_PATH > the path built from owner and run id.

    Raises IncompleteVariablesError where owner or run id is missing, InvalidVariableError where one is malformed.
    """
    if explicit := environ.get(ARTIFACTS_PATH):
        return PurePosixPath(explicit)
    if missing := tuple(name for name in (MODEL_OWNER, RUN_ID) if not environ.get(name)):
        raise IncompleteVariablesError(missing, alternative=ARTIFACTS_PATH)
    return PurePosixPath(model_path(validate(MODEL_OWNER, environ[MODEL_OWNER]), validate(RUN_ID, environ[RUN_ID])))
