"""Estimators that get an array in place of a frame predict the same, and all others keep their frames."""

import json
import warnings
from collections.abc import Callable, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import lightgbm
import mlflow.lightgbm
import mlflow.sklearn
import mlflow.xgboost
import narwhals.stable.v2 as narwhals
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from serving_runtime.errors import ServingError
from serving_runtime.loaders.native import load_native
from serving_runtime.loaders.scikit_learn import FRAME_CHECKS, forget_names, shorten_frame_checks
from serving_runtime.mlmodel import read_metadata
from serving_runtime.model import Model, load
from serving_runtime.options import Loader
from serving_runtime.protocols.mlflow.request import read_request

RANDOM = np.random.default_rng(11)
FRAME = pd.DataFrame(RANDOM.normal(size=(40, 3)), columns=["a", "b", "c"])
TARGET = FRAME["a"] * 2 - FRAME["b"]
NAMES = ("a", "b", "c")


class Own(LinearRegression):
    """Estimator outside scikit-learn, which may use the names of its input."""

    __module__ = "somewhere"


TAKES_ARRAYS = {
    "a linear model": LinearRegression(),
    "a classifier": LogisticRegression(),
    "a forest": RandomForestRegressor(n_estimators=5, random_state=1),
    "a pipeline": make_pipeline(StandardScaler(), LinearRegression()),
    "a pipeline in a pipeline": make_pipeline("passthrough", make_pipeline(StandardScaler(), LinearRegression())),
}
KEEPS_FRAMES = {
    "columns by name": make_pipeline(make_column_transformer((StandardScaler(), ["a", "b"])), LinearRegression()),
    "a function": make_pipeline(FunctionTransformer(lambda frame: frame), LinearRegression()),
    "a class of its own": Own(),
    "estimators that look at names themselves": VotingRegressor(
        [("one", LinearRegression()), ("other", LinearRegression())]
    ),
    "frames between the steps": make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()),
}


# MLflow warns of its own code where it is first imported and where it saves an example, XGBoost of a request without
# rows.
WARNED = pytest.mark.filterwarnings(
    "ignore:.*Any type hint is inferred", "ignore:Operation with range", "ignore:.*Empty dataset"
)


def fitted(model: Any) -> Any:
    return model.fit(FRAME, TARGET > 0 if isinstance(model, LogisticRegression) else TARGET)


@pytest.mark.parametrize("name", TAKES_ARRAYS)
def test_array_is_predicted_as_the_frame_is_and_without_a_warning(name: str) -> None:
    model = fitted(TAKES_ARRAYS[name])
    expected = model.predict(FRAME)

    assert forget_names(model, NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(model.predict(FRAME.to_numpy()), expected)


@pytest.mark.parametrize("name", KEEPS_FRAMES)
def test_estimator_that_may_need_names_keeps_them(name: str) -> None:
    model = fitted(KEEPS_FRAMES[name])
    expected = model.predict(FRAME)

    assert not forget_names(model, NAMES)
    np.testing.assert_array_equal(model.predict(FRAME), expected)


@pytest.mark.parametrize("names", [("b", "a", "c"), ("a", "b"), ()], ids=["another order", "fewer", "none"])
def test_names_that_are_not_the_signature_s_are_kept(names: tuple[str, ...]) -> None:
    model = fitted(LinearRegression())

    assert not forget_names(model, names)
    assert list(model.feature_names_in_) == list(NAMES)


@WARNED
@pytest.mark.parametrize(("estimators", "own"), [(TAKES_ARRAYS, False), (KEEPS_FRAMES, True)], ids=["arrays", "frames"])
def test_only_a_model_that_takes_arrays_is_known_to_run_no_code_of_its_author(
    estimators: dict[str, Any], own: bool, tmp_path: Path
) -> None:
    signature = ModelSignature(Schema([ColSpec("double", column) for column in NAMES]))
    for number, estimator in enumerate(estimators.values()):
        path = tmp_path / str(number)
        mlflow.sklearn.save_model(
            fitted(clone(estimator)),
            str(path),
            signature=signature,
            pip_requirements=[],
            serialization_format="cloudpickle",
        )
        assert load(path, Loader.NATIVE).runs_own_code is own
        assert load(path, Loader.MLFLOW).runs_own_code


def test_estimator_that_was_fitted_without_names_is_left_alone() -> None:
    model = LinearRegression().fit(FRAME.to_numpy(), TARGET)

    assert not forget_names(model, NAMES)


# What a column of each type of a signature may hold, at its edges too.
CELLS = {
    "double": [0.1, -1e30, 1e-320, None, 16777217.0, 9007199254740993.0],
    "float": [0.1, -3e30, 1e-45, None, 16777217.0, 2.5],
    "long": [0, -(2**63), 2**63 - 1, 16777217, 9007199254740993, 3],
    "integer": [0, -(2**31), 2**31 - 1, 16777217, 1, 2],
    "boolean": [True, False, False, True, True, False],
}
KINDS = {"double": "float64", "float": "float32", "long": "int64", "integer": "int32", "boolean": "bool"}
BOOSTERS: dict[str, Callable[[pd.DataFrame, Any], Any]] = {
    "xgboost": lambda frame, target: xgboost.XGBRegressor(n_estimators=9, n_jobs=1, max_depth=9).fit(frame, target),
    "xgboost's booster": lambda frame, target: (
        xgboost.XGBRegressor(n_estimators=9, n_jobs=1).fit(frame, target).get_booster()
    ),
    "xgboost's line": lambda frame, target: xgboost.XGBRegressor(booster="gblinear", n_estimators=9, n_jobs=1).fit(
        frame, target
    ),
    "xgboost with a value for what is missing": lambda frame, target: xgboost.XGBRegressor(missing=2.5, n_jobs=1).fit(
        frame, target
    ),
    "lightgbm's booster": lambda frame, target: (
        lightgbm.LGBMRegressor(n_jobs=1, verbose=-1, min_child_samples=2).fit(frame, target).booster_
    ),
}


def saved_booster(name: str, kind: str, directory: Path) -> Path:
    """Fitted to the cells themselves, so that its splits lie between values that are close to each other."""
    cells = [0.0 if cell is None else cell for cell in CELLS[kind]] * 10
    frame = pd.DataFrame({column: RANDOM.permutation(np.array(cells, KINDS[kind])) for column in NAMES})
    booster = BOOSTERS[name](frame, RANDOM.normal(size=len(frame)))
    schema = Schema([ColSpec(kind, column, required=kind not in {"double", "float"}) for column in NAMES])
    flavor = mlflow.lightgbm if "lightgbm" in name else mlflow.xgboost
    flavor.save_model(
        booster,
        str(directory / "model"),
        signature=ModelSignature(schema),
        input_example=frame.head(2),
        pip_requirements=[],
    )
    return directory / "model"


def answered(model: Model, rows: list[list[Any]], columns: Sequence[str] = NAMES) -> Any:
    """The prediction, or the status of the answer: what a client sees."""
    body = json.dumps({"dataframe_split": {"columns": columns, "data": rows}}).encode()
    try:
        return model.predict(read_request(body, None, model.metadata.signature))
    except ServingError as error:
        return error.status


@WARNED
@pytest.mark.parametrize("kind", CELLS)
@pytest.mark.parametrize("name", BOOSTERS)
def test_booster_answers_to_arrays_what_mlflow_answers_to_frames(name: str, kind: str, tmp_path: Path) -> None:
    path = saved_booster(name, kind, tmp_path)
    native, usual = load(path, Loader.NATIVE), load(path, Loader.MLFLOW)
    rows = [list(row) for row in product(CELLS[kind], repeat=3)]

    for given in (rows, rows[:1], [[None] * 3], [[3e38] * 3], [[1e300] * 3], []):
        np.testing.assert_array_equal(answered(native, given), answered(usual, given), strict=True)
    two = NAMES[:2]
    np.testing.assert_array_equal(answered(native, [[1.5, 2.5]], two), answered(usual, [[1.5, 2.5]], two))


@WARNED
@pytest.mark.parametrize(
    ("name", "kind", "arrays"),
    [
        ("xgboost", "long", True),
        ("xgboost's booster", "double", True),
        ("lightgbm's booster", "float", True),
        ("lightgbm's booster", "long", False),
    ],
)
def test_booster_gets_arrays_if_they_equal_the_frame(name: str, kind: str, arrays: bool, tmp_path: Path) -> None:
    native = load_native(path := saved_booster(name, kind, tmp_path), read_metadata(path))

    assert native is not None
    assert native.by_position is arrays


@WARNED
@pytest.mark.parametrize("fitted_with", [["c", "b", "a"], ["x", "y", "z"]], ids=["another order", "other names"])
def test_booster_of_other_names_than_the_signature_s_refuses_as_mlflow_does(
    fitted_with: list[str], tmp_path: Path
) -> None:
    booster = xgboost.XGBRegressor(n_estimators=3, n_jobs=1).fit(FRAME.set_axis(fitted_with, axis=1), TARGET)
    schema = Schema([ColSpec("double", column) for column in NAMES])
    mlflow.xgboost.save_model(booster, str(tmp_path / "model"), signature=ModelSignature(schema), pip_requirements=[])
    native, usual = load(tmp_path / "model", Loader.NATIVE), load(tmp_path / "model", Loader.MLFLOW)

    assert answered(native, [[1.0, 2.0, 3.0]]) == answered(usual, [[1.0, 2.0, 3.0]]) == 500


@pytest.mark.parametrize(
    "value", [FRAME, FRAME["a"], FRAME.to_numpy(), [[1.0]], None], ids=lambda value: type(value).__name__
)
def test_frames_and_series_are_told_from_arrays_as_before(value: Any) -> None:
    before = [getattr(narwhals.dependencies, name)(value) for name in FRAME_CHECKS]
    shorten_frame_checks()

    assert [getattr(narwhals.dependencies, name)(value) for name in FRAME_CHECKS] == before
    assert narwhals.dependencies.is_into_dataframe(native_dataframe=value) == before[0]
    assert before == [isinstance(value, pd.DataFrame), isinstance(value, pd.Series)]


def test_scikit_learn_does_not_search_an_array_for_a_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(value: Any) -> bool:
        raise AssertionError(type(value))

    estimator = make_pipeline(StandardScaler(), LinearRegression()).fit(FRAME.to_numpy(), TARGET.to_numpy())
    for name in FRAME_CHECKS:
        monkeypatch.setattr(narwhals.dependencies, name, search)
    with pytest.raises(AssertionError, match="ndarray"):
        estimator.predict(FRAME.to_numpy())
    shorten_frame_checks()

    assert estimator.predict(FRAME.to_numpy()) == pytest.approx(TARGET.to_numpy())
