"""The places in which the runtime looks for its model."""

from pathlib import Path

import pytest

from model_contract.model_ref import InvalidVariableError
from serving_runtime.errors import ModelNotFoundError
from serving_runtime.location import find_model, resolve_model_path

OWNER_AND_RUN = {"MLFLOW_MODEL_OWNER": "jane.doe", "MLFLOW_RUN_ID": "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"}


def make_model(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "MLmodel").touch()
    return directory


def test_the_explicit_path_wins(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")

    assert resolve_model_path(OWNER_AND_RUN | {"MLFLOW_ARTIFACTS_PATH": str(model)}) == model


def test_owner_and_run_make_the_path_of_the_contract() -> None:
    with pytest.raises(
        ModelNotFoundError,
        match=r"/artifacts/mlflow/jane.doe/5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5/artifacts/model; / holds ",
    ):
        resolve_model_path(OWNER_AND_RUN)


def test_an_owner_with_a_path_is_refused() -> None:
    with pytest.raises(InvalidVariableError, match="MLFLOW_MODEL_OWNER"):
        resolve_model_path(OWNER_AND_RUN | {"MLFLOW_MODEL_OWNER": "../x"})


def test_the_only_model_below_the_directory_is_found(tmp_path: Path) -> None:
    model = make_model(tmp_path / "artifacts" / "model")

    assert find_model(tmp_path / "artifacts") == model


def test_several_models_below_are_named(tmp_path: Path) -> None:
    make_model(tmp_path / "a")
    make_model(tmp_path / "b")

    with pytest.raises(ModelNotFoundError, match=r"more than one model \(a, b\); name one of them"):
        find_model(tmp_path)


def test_a_directory_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()

    with pytest.raises(ModelNotFoundError, match=r"there is no MLmodel in .*; it holds weights.bin"):
        find_model(tmp_path)


def test_a_missing_directory_says_what_there_is_above(tmp_path: Path) -> None:
    (tmp_path / "other-owner").mkdir()

    with pytest.raises(ModelNotFoundError, match=r"there is no directory .*; .* holds other-owner"):
        find_model(tmp_path / "jane" / "run" / "artifacts" / "model")
