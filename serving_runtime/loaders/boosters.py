"""XGBoost and LightGBM models, as `mlflow.xgboost` and `mlflow.lightgbm` read and ask them."""

from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Final

from serving_runtime.loaders.files import inside
from serving_runtime.loaders.native_model import NativeModel
from serving_runtime.loaders.scikit_learn import read_estimator
from serving_runtime.mlmodel import Metadata

PREDICT: Final = "predict"


def xgboost_model(directory: Path, metadata: Metadata) -> NativeModel | None:
    python_function, flavor = metadata.flavors["python_function"], metadata.flavors.get("xgboost", {})
    module, _, name = flavor.get("model_class", "xgboost.core.Booster").rpartition(".")
    if python_function.get("predict_fn", PREDICT) != PREDICT or module.partition(".")[0] != "xgboost" or not flavor.get("data"):
        return None
    import xgboost  # noqa: PLC0415  only some models need it

    model = getattr(import_module(module), name)()
    model.load_model(str(inside(directory, flavor["data"])))
    if isinstance(model, xgboost.Booster):
        return NativeModel(lambda data: model.predict(xgboost.DMatrix(data), validate_features=True))
    if isinstance(model, xgboost.XGBModel):
        return NativeModel(partial(model.predict, validate_features=True))
    return None


def lightgbm_model(directory: Path, metadata: Metadata) -> NativeModel | None:
    python_function, flavor = metadata.flavors["python_function"], metadata.flavors.get("lightgbm", {})
    if python_function.get("predict_fn", PREDICT) != PREDICT or not flavor.get("data"):
        return None
    path = inside(directory, flavor["data"])
    if flavor.get("model_class", "lightgbm.basic.Booster") == "lightgbm.basic.Booster":
        import lightgbm  # noqa: PLC0415  only some models need it

        return NativeModel(lightgbm.Booster(model_file=str(path)).predict)
    return NativeModel(read_estimator(path, flavor, assumed="cloudpickle").predict)
