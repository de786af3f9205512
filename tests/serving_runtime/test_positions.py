"""Estimators that get an array in place of a frame predict the same, and all others keep their frames."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor, VotingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from serving_runtime.loaders.positions import forget_names

RANDOM = np.random.default_rng(11)
FRAME = pd.DataFrame(RANDOM.normal(size=(40, 3)), columns=["a", "b", "c"])
TARGET = FRAME["a"] * 2 - FRAME["b"]
NAMES = ("a", "b", "c")


class Own(LinearRegression):
    """Somebody's own, which may do with its input what it likes."""

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
    "estimators that look at names themselves": VotingRegressor([("one", LinearRegression()), ("other", LinearRegression())]),
    "frames between the steps": make_pipeline(StandardScaler().set_output(transform="pandas"), LinearRegression()),
}


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


def test_estimator_that_was_fitted_without_names_is_left_alone() -> None:
    model = LinearRegression().fit(FRAME.to_numpy(), TARGET)

    assert not forget_names(model, NAMES)
