"""XGBoost and LightGBM models, loaded and called as `mlflow.xgboost` and `mlflow.lightgbm` do."""

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import pandas as pd

from serving_runtime.input.conform_plan import Uniform
from serving_runtime.loaders import lazy
from serving_runtime.loaders.categories import of_lightgbm, of_xgboost
from serving_runtime.loaders.native_model import NativeModel, model_file
from serving_runtime.loaders.scikit_learn import read_estimator
from serving_runtime.mlmodel import Metadata

PREDICT: Final = "predict"
CATEGORIES: Final = "c"  # XGBoost's type of a column


def xgboost_model(directory: Path, metadata: Metadata) -> NativeModel | None:
    python_function, flavor = metadata.flavors["python_function"], metadata.flavors.get("xgboost", {})
    module, _, name = flavor.get("model_class", "xgboost.core.Booster").rpartition(".")
    if (
        python_function.get("predict_fn", PREDICT) != PREDICT
        or module.partition(".")[0] != "xgboost"
        or not flavor.get("data")
    ):
        return None

    model = getattr(import_module(module), name)()
    model.load_model(str(model_file(directory, flavor["data"])))
    booster = (
        model
        if isinstance(model, lazy.xgboost.Booster)
        else model.get_booster()
        if isinstance(model, lazy.xgboost.XGBModel)
        else None
    )
    if booster is not None and (categories := of_xgboost(booster)):
        predict = model.predict if booster is not model else _of_categories(model)
        return NativeModel(predict, categories=categories)
    if isinstance(model, lazy.xgboost.Booster):
        return _by_names(model, lambda data, **checks: model.predict(lazy.xgboost.DMatrix(data), **checks), metadata)
    if isinstance(model, lazy.xgboost.XGBModel):
        return _by_names(model.get_booster(), model.predict, metadata)
    return None


def _of_categories(booster: Any) -> Callable[[Any], Any]:
    return lambda data: booster.predict(lazy.xgboost.DMatrix(data, enable_categorical=True))


def _by_names(booster: Any, predict: Callable[..., Any], metadata: Metadata) -> NativeModel:
    """Return a model that checks the names of the columns: of a frame at each call, of an array once, here.

    The columns of an array are those of the signature.
    """
    uniform = Uniform.of(metadata.signature)
    if uniform is None or list(uniform.names) != booster.feature_names or CATEGORIES in (booster.feature_types or ()):
        return NativeModel(partial(predict, validate_features=True))
    return NativeModel(lambda data: predict(data, validate_features=isinstance(data, pd.DataFrame)), by_position=True)


def lightgbm_model(directory: Path, metadata: Metadata) -> NativeModel | None:
    python_function, flavor = metadata.flavors["python_function"], metadata.flavors.get("lightgbm", {})
    if python_function.get("predict_fn", PREDICT) != PREDICT or not flavor.get("data"):
        return None
    path = model_file(directory, flavor["data"])
    if flavor.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        booster, uniform = lazy.lightgbm.Booster(model_file=str(path)), Uniform.of(metadata.signature)
        # LightGBM reads whole numbers in an array as single floats, in a frame as doubles, so only floats may come as
        # an array. LightGBM checks no names.
        by_position = uniform is not None and uniform.dtype.kind == "f" and not booster.pandas_categorical
        return NativeModel(booster.predict, by_position=by_position, categories=of_lightgbm(booster))
    estimator = read_estimator(path, flavor, assumed="cloudpickle")
    return NativeModel(estimator.predict, categories=of_lightgbm(getattr(estimator, "booster_", None)))


def of_raw_model(raw: Any) -> NativeModel | None:
    """Return the model of LightGBM or XGBoost that MLflow has loaded, if it was trained on categories, which MLflow
    ignores.
    """
    if hasattr(raw, "booster_") or hasattr(raw, "pandas_categorical"):
        found = of_lightgbm(getattr(raw, "booster_", raw))
        return NativeModel(raw.predict, categories=found) if found else None
    booster = raw.get_booster() if hasattr(raw, "get_booster") else raw
    found = of_xgboost(booster)
    if found is None:
        return None
    return NativeModel(raw.predict if booster is not raw else _of_categories(raw), categories=found)
