"""Loading of models without MLflow, each as its flavor's own loader does it."""

import logging
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from serving_runtime.errors import AskedToEndError, ModelLoadError
from serving_runtime.loaders.boosters import lightgbm_model, xgboost_model
from serving_runtime.loaders.native_model import NativeModel
from serving_runtime.loaders.scikit_learn import sklearn_model
from serving_runtime.mlmodel import Metadata
from serving_runtime.signature import Scalar, Signature

Read = Callable[[Path, Metadata], NativeModel | None]

LOADERS: Final[Mapping[str, Read]] = {
    "mlflow.sklearn": sklearn_model,
    "mlflow.xgboost": xgboost_model,
    "mlflow.lightgbm": lightgbm_model,
}
# Settings of MLflow that can forbid loading; if one of them is off, MLflow itself decides.
SWITCHES: Final = ("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "MLFLOW_ALLOW_MODEL_CODE_EXECUTION")

_log = logging.getLogger(__name__)


def load_native(directory: Path, metadata: Metadata) -> NativeModel | None:
    """Return the model; None if none of these loaders can load it. Raises ModelLoadError."""
    if not eligible(metadata):
        return None
    read = LOADERS[metadata.flavors["python_function"]["loader_module"]]
    try:
        with warnings.catch_warnings(record=True) as raised:
            model = read(directory, metadata)
    except (AskedToEndError, KeyboardInterrupt):
        raise
    except BaseException as error:  # as in `load_pyfunc`: the file of a model may run code of its author
        reason = " ".join(str(error).split()) or "no reason given"
        raise ModelLoadError(f"the model in {directory} cannot be loaded: {type(error).__name__}: {reason}") from error
    for warning in {str(warning.message) for warning in raised}:
        _log.warning(
            "a library warned while it loaded the model", extra={"fields": {"warning": " ".join(warning.split())}}
        )
    return model


def eligible(metadata: Metadata) -> bool:
    """Return True if a loader here can replace MLflow: the model has no code or parameters that MLflow would handle."""
    python_function = metadata.flavors["python_function"]
    return (
        python_function.get("loader_module") in LOADERS
        and not python_function.get("code")
        and not python_function.get("config")
        and _needs_no_mlflow_check(metadata.signature)
        and all(os.environ.get(name, "true").lower() in {"true", "1"} for name in SWITCHES)
    )


def _needs_no_mlflow_check(signature: Signature) -> bool:
    """Return True if input of the signature's types is the same before and after MLflow's own check."""
    return (
        signature.params is None
        and not signature.typed_in_code
        and all(isinstance(column.type, Scalar) for column in signature.columns)
        and all(tensor.name is None for tensor in signature.tensors)
    )
