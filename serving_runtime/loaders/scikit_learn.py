"""scikit-learn models: skops with the types that the model's author trusted, pickle and cloudpickle, as
`mlflow.sklearn` reads them.
"""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from serving_runtime.input.conform_plan import Uniform
from serving_runtime.loaders import lazy
from serving_runtime.loaders.files import inside
from serving_runtime.loaders.native_model import NativeModel
from serving_runtime.loaders.positions import forget_names
from serving_runtime.mlmodel import Metadata

# What MLflow lets a model be saved with as its prediction; `score` wants the truth beside the input.
FUNCTIONS: Final = frozenset({"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"})


def sklearn_model(directory: Path, metadata: Metadata) -> NativeModel | None:
    python_function = metadata.flavors["python_function"]
    function = python_function.get("predict_fn", "predict")
    if function not in FUNCTIONS or "sklearn" not in metadata.flavors:
        return None
    estimator = read_estimator(inside(directory, python_function["model_path"]), metadata.flavors["sklearn"])
    if not hasattr(estimator, function):
        return None
    uniform = Uniform.of(metadata.signature)
    by_position = uniform is not None and forget_names(estimator, uniform.names)
    predict = getattr(estimator, function)
    # A frame that the plan did not make an array of is one now: the names are forgotten.
    return (
        NativeModel(lambda data: predict(np.asarray(data)), by_position=True) if by_position else NativeModel(predict)
    )


def read_estimator(path: Path, flavor: Mapping[str, Any], assumed: str = "pickle") -> Any:
    """The estimator in the file `path`; `assumed` is its format where the flavor does not name one.
    Raises ValueError.
    """
    match flavor.get("serialization_format", assumed):
        case "skops":
            return lazy.skops_io.load(path, trusted=flavor.get("skops_trusted_types"))
        case "cloudpickle":
            with path.open("rb") as file:
                return lazy.cloudpickle.load(file)
        case "pickle":
            with path.open("rb") as file:
                return pickle.load(file)  # noqa: S301  a model is code; who may write it is for the tracking server to say
        case other:
            raise ValueError(f"there is no serialization format {other}")
