"""XGBoost and LightGBM models, as `mlflow.xgboost` and `mlflow.lightgbm` read and ask them."""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from serving_runtime.loaders.files import inside
from serving_runtime.loaders.scikit_learn import read_estimator

PREDICT: Final = "predict"


def xgboost_predictor(directory: Path, python_function: Mapping[str, Any], flavors: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    flavor = flavors.get("xgboost", {})
    module, _, name = flavor.get("model_class", "xgboost.core.Booster").rpartition(".")
    if python_function.get("predict_fn", PREDICT) != PREDICT or module.partition(".")[0] != "xgboost" or not flavor.get("data"):
        return None
    import xgboost  # noqa: PLC0415  only some models need it

    model = getattr(import_module(module), name)()
    model.load_model(str(inside(directory, flavor["data"])))
    if isinstance(model, xgboost.Booster):
        return lambda data: model.predict(xgboost.DMatrix(data), validate_features=True)
    if isinstance(model, xgboost.XGBModel):
        return partial(model.predict, validate_features=True)
    return None


def lightgbm_predictor(directory: Path, python_function: Mapping[str, Any], flavors: Mapping[str, Any]) -> Callable[[Any], Any] | None:
    flavor = flavors.get("lightgbm", {})
    if python_function.get("predict_fn", PREDICT) != PREDICT or not flavor.get("data"):
        return None
    path = inside(directory, flavor["data"])
    if flavor.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        import lightgbm  # noqa: PLC0415  only some models need it

        predictor: Callable[[Any], Any] = lightgbm.Booster(model_file=str(path)).predict
        return predictor
    estimator: Callable[[Any], Any] = read_estimator(path, flavor, assumed="cloudpickle").predict
    return estimator
