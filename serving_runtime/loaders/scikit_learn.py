"""scikit-learn models in the formats skops, pickle and cloudpickle, read as `mlflow.sklearn` reads them.

skops loads the types that the model's author trusted.
"""

import pickle
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, Final

import numpy as np

from serving_runtime.input.conform_plan import Uniform
from serving_runtime.loaders import lazy
from serving_runtime.loaders.native_model import NativeModel, model_file
from serving_runtime.mlmodel import Metadata

# The functions that MLflow can save as a model's prediction, without `score`, which needs the true values too.
FUNCTIONS: Final = frozenset({"predict", "predict_proba", "predict_log_proba", "predict_joint_log_proba"})
FEATURE_NAMES: Final = "feature_names_in_"  # scikit-learn's attribute with the column names of the training data
# Estimators that choose columns by their names, or give their input to code of the model's author.
NEED_NAMES: Final = frozenset({"ColumnTransformer", "FunctionTransformer"})
DEEPEST: Final = 8  # estimators inside each other
FRAME_CHECKS: Final = ("is_into_dataframe", "is_into_series")  # of narwhals


def sklearn_model(directory: Path, metadata: Metadata) -> NativeModel | None:
    python_function = metadata.flavors["python_function"]
    function = python_function.get("predict_fn", "predict")
    if function not in FUNCTIONS or "sklearn" not in metadata.flavors:
        return None
    estimator = read_estimator(model_file(directory, python_function["model_path"]), metadata.flavors["sklearn"])
    if not hasattr(estimator, function):
        return None
    shorten_frame_checks()
    uniform = Uniform.of(metadata.signature)
    by_position = uniform is not None and forget_names(estimator, uniform.names)
    predict = getattr(estimator, function)
    # The estimator has forgotten its names, so a frame that the plan did not make an array becomes one here.
    return (
        NativeModel(lambda data: predict(np.asarray(data)), by_position=True) if by_position else NativeModel(predict)
    )


def read_estimator(path: Path, flavor: Mapping[str, Any], assumed: str = "pickle") -> Any:
    """Return the estimator in the file `path`. `assumed` is its format if the flavor names none. Raises ValueError."""
    match flavor.get("serialization_format", assumed):
        case "skops":
            return lazy.skops_io.load(path, trusted=flavor.get("skops_trusted_types"))
        case "cloudpickle":
            with path.open("rb") as file:
                return lazy.cloudpickle.load(file)
        case "pickle":
            with path.open("rb") as file:
                return pickle.load(file)  # noqa: S301  a model is code: the tracking server decides who may write it
        case other:
            raise ValueError(f"there is no serialization format {other}")


def forget_names(estimator: Any, names: Sequence[str]) -> bool:
    """Make the estimator take arrays with columns in the order of `names`; return False if it must stay as it is.

    scikit-learn's check of a frame's column names takes several times as long as a small prediction. It is not needed
    if the estimator was fitted with the signature's names in the signature's order, because the plan has checked them.
    Every estimator inside must be scikit-learn's own, and only the first one may have kept names.
    """
    first = _first_estimator(estimator)
    estimators = list(_estimators(estimator, DEEPEST))
    if not all(_works_without_names(found) for found in estimators) or [
        found for found in estimators if FEATURE_NAMES in vars(found)
    ] != [first]:
        return False
    if list(vars(first)[FEATURE_NAMES]) != list(names):
        return False
    delattr(first, FEATURE_NAMES)  # with it, scikit-learn would warn about each array
    return True


def shorten_frame_checks() -> None:
    """Answer for arrays at once if scikit-learn asks narwhals whether its input is a frame or a series.

    scikit-learn 1.9 asks four times in a prediction, and each search through the protocols of frames takes 16 us: two
    thirds of a small prediction. An older one does not use narwhals.
    """
    dependencies = sys.modules.get("narwhals.stable.v2.dependencies")
    for name in FRAME_CHECKS:
        check = getattr(dependencies, name, None)
        if check is not None and not hasattr(check, "__wrapped__"):
            setattr(dependencies, name, _unless_array(check))


def _unless_array(check: Callable[..., bool]) -> Callable[..., bool]:
    """Return the check with the answer False for each array of numpy."""

    @wraps(check)
    def checked(*values: Any, **named: Any) -> bool:  # other libraries may name what they ask about
        return not (values and type(values[0]) is np.ndarray) and check(*values, **named)

    return checked


def _first_estimator(estimator: Any) -> Any:
    """Return the estimator that gets the input first: in a pipeline, the first step that has `fit`.

    If that step is a pipeline itself, the same holds inside it.
    """
    while type(estimator).__name__ == "Pipeline" and estimator.steps:
        estimator = next((step for _, step in estimator.steps if hasattr(step, "fit")), None)
    return estimator


def _estimators(value: Any, depth: int) -> Iterator[Any]:
    """Yield an estimator and every estimator inside it, in lists, tuples and dicts too."""
    match value:
        case list() | tuple() if depth:
            for item in value:
                yield from _estimators(item, depth - 1)
        case dict() if depth:
            yield from _estimators(list(value.values()), depth)
        case _ if hasattr(value, "fit") and hasattr(value, "__dict__"):
            yield value
            yield from _estimators(list(vars(value).values()), depth)


def _works_without_names(estimator: Any) -> bool:
    return type(estimator).__module__.partition(".")[0] == "sklearn" and type(estimator).__name__ not in NEED_NAMES
