"""Paths of a model's files: in the store that the delivery fills, and in the container that serves.

A store, an emptyDir or a shared claim, always has these directories:

    <store>/<owner>/<run_id>/artifacts/model/   the model, MLmodel at its root
    <store>/<owner>/<run_id>/manifest.json      its files, with sizes and digests
    <store>/.partial-<id>/                      the same while they are written, then renamed

An image of a model has the same in two directories, which a pod mounts as the last two of these paths:

    models/                                     the model
    manifest/                                   manifest.json, and the empty directory artifacts/model

A model that was fetched by a storage URI lies in a mount that has a store of its own:

    <mount>/MLmodel                             links to the files, MLmodel last
    <mount>/.model-api/model/manifest.json      its files, the URI, and the version that it named
    <mount>/.model-api/model/artifacts/model/   the model
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
IMAGE_MODEL: Final = "models"  # where KServe looks for the model of `oci+native://`
IMAGE_MANIFEST: Final = "manifest"
STORAGE_DIRECTORY: Final = ".model-api/model"  # below a mount: a model that was fetched by a storage URI


def run_directory(owner: str, run_id: str) -> str:
    """Return the directory of a run below the root of a store."""
    return f"{owner}/{run_id}"


def model_directory(owner: str, run_id: str) -> str:
    """Return the directory of a run's model below the root of a store, which is also the subPath of a mount."""
    return f"{run_directory(owner, run_id)}/{MODEL_DIRECTORY}"


def run_path(owner: str, run_id: str) -> str:
    """Return the absolute path of a run's directory in a model API container, if its model comes by an image."""
    return f"{ARTIFACTS_ROOT}/{run_directory(owner, run_id)}"


def model_path(owner: str, run_id: str) -> str:
    """Return the absolute path at which a model API container finds its model."""
    return f"{ARTIFACTS_ROOT}/{model_directory(owner, run_id)}"


def model_path_from(environ: Mapping[str, str]) -> PurePosixPath:
    """Return the path of the model: MLFLOW_ARTIFACTS_PATH > the path built from owner and run id.

    Raises IncompleteVariablesError if owner or run id is missing, InvalidVariableError if one is malformed.
    """
    if explicit := environ.get(ARTIFACTS_PATH):
        return PurePosixPath(explicit)
    if missing := tuple(name for name in (MODEL_OWNER, RUN_ID) if not environ.get(name)):
        raise IncompleteVariablesError(missing, alternative=ARTIFACTS_PATH)
    return PurePosixPath(model_path(validate(MODEL_OWNER, environ[MODEL_OWNER]), validate(RUN_ID, environ[RUN_ID])))
