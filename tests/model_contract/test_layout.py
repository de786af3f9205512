"""Paths of a model's files."""

from pathlib import PurePosixPath

import pytest

from model_contract.layout import model_directory, model_path, model_path_from
from model_contract.model_ref import IncompleteVariablesError, InvalidVariableError

RUN = "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"


def test_model_path_is_the_store_layout_below_the_artifacts_root() -> None:
    assert model_path("jane.doe", RUN) == f"/artifacts/mlflow/jane.doe/{RUN}/artifacts/model"
    assert model_path("jane.doe", RUN) == f"/artifacts/mlflow/{model_directory('jane.doe', RUN)}"


def test_model_path_is_built_from_owner_and_run_id() -> None:
    path = model_path_from({"MLFLOW_MODEL_OWNER": "jane.doe", "MLFLOW_RUN_ID": RUN})

    assert path == PurePosixPath(model_path("jane.doe", RUN))


def test_artifacts_path_wins_over_owner_and_run_id() -> None:
    path = model_path_from({"MLFLOW_ARTIFACTS_PATH": "/mnt/model", "MLFLOW_MODEL_OWNER": "../x"})

    assert path == PurePosixPath("/mnt/model")


def test_empty_artifacts_path_counts_as_absent() -> None:
    path = model_path_from({"MLFLOW_ARTIFACTS_PATH": "", "MLFLOW_MODEL_OWNER": "jane.doe", "MLFLOW_RUN_ID": RUN})

    assert path == PurePosixPath(model_path("jane.doe", RUN))


def test_model_path_without_variables_says_what_to_set() -> None:
    sentence = "MLFLOW_MODEL_OWNER, MLFLOW_RUN_ID are not set; set them, or set MLFLOW_ARTIFACTS_PATH"

    with pytest.raises(IncompleteVariablesError, match=f"^{sentence}$"):
        model_path_from({})


def test_model_path_never_leaves_the_artifacts_root() -> None:
    with pytest.raises(InvalidVariableError):
        model_path_from({"MLFLOW_MODEL_OWNER": "../../etc", "MLFLOW_RUN_ID": RUN})
