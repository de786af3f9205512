"""Models of LightGBM and XGBoost that were trained on pandas' categories."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost

from serving_runtime.errors import InvalidInputError
from serving_runtime.loaders.categories import Categories, of_xgboost
from serving_runtime.model import load
from serving_runtime.options import Loader
from testbed.environments import saved_models
from testbed.runtime_core import answer

SAVE = Path(__file__).parent / "scripts" / "save_categories.py"
ROWS = [[0.0, "x", 3], [1.0, "y", 5], [2.0, "z", 9], [3.0, "x", 3]]


def body(rows: list[list[object]]) -> bytes:
    return json.dumps({"dataframe_split": {"columns": ["n", "c", "k"], "data": rows}}).encode()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved_models("3.17", SAVE, tmp_path_factory.mktemp("categories"))


@pytest.mark.parametrize("name", ["lightgbm", "lightgbm-sklearn", "xgboost", "xgboost-sklearn"])
@pytest.mark.parametrize("suffix", ["", "-without-example"])
@pytest.mark.parametrize("loader", list(Loader))
def test_categories_of_a_request_are_those_that_the_model_was_trained_on(
    name: str, suffix: str, loader: Loader, trained: Path
) -> None:
    found = json.loads(answer(load(trained / (name + suffix), loader), body(ROWS), "application/json"))

    assert np.allclose(found["predictions"], np.load(trained / f"{name}.npy"))


def test_a_category_that_lightgbm_does_not_know_is_a_missing_value(trained: Path) -> None:
    model = load(trained / "lightgbm")
    unknown = answer(model, body([[0.0, "never seen", 3]]), "application/json")

    assert unknown == answer(model, body([[0.0, None, 3]]), "application/json")


@pytest.mark.parametrize("name", ["xgboost", "xgboost-sklearn"])
@pytest.mark.parametrize("loader", list(Loader))
def test_a_category_that_xgboost_does_not_know_is_refused_with_its_place(
    name: str, loader: Loader, trained: Path
) -> None:
    with pytest.raises(InvalidInputError) as refused:
        answer(
            load(trained / name, loader),
            body([[0.0, "x", 3], [0.0, "never seen", 3], [0.0, None, 3]]),
            "application/json",
        )

    assert [(fault.path, fault.problem) for fault in refused.value.faults] == [
        ("input.c[1]", "a category that the model was not trained on")
    ]


@pytest.mark.parametrize("names", [["été", "a"], ["éa", "b"], ["☃", "z"]])
def test_categories_that_xgboost_cuts_are_reported_and_not_guessed(names: list[str]) -> None:
    frame = pd.DataFrame({"c": pd.Categorical(names * 20, categories=names)})
    trained = xgboost.XGBRegressor(n_estimators=1, enable_categorical=True).fit(frame, [0, 1] * 20)

    found = of_xgboost(trained.get_booster())

    assert found is not None
    with pytest.raises(InvalidInputError, match="XGBoost cuts categories with letters beyond ASCII"):
        found.cast(frame)


def test_a_request_is_refused_if_the_file_does_not_hold_the_categories() -> None:
    with pytest.raises(InvalidInputError, match="the model was trained on categories"):
        Categories(by_position=None, missing="the model was trained on categories").cast(None)
