"""Models in MLflow's python_function flavor: loaded here, the one place that imports MLflow, and called.

`call` and `stream` take models that were loaded without MLflow too.
"""

import logging
import os
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from copy import copy
from pathlib import Path
from typing import Any, Final, Protocol, cast

import numpy as np
import pandas as pd

from serving_runtime.errors import (
    AskedToEndError,
    Fault,
    InvalidInputError,
    ModelLoadError,
    PredictionError,
    RefusedByModelError,
    ServingError,
)
from serving_runtime.refused_input import hint_faults, is_of_libraries, is_of_params, wrapper_faults

SCHEMA_OF_VALUE: Final = "Failed to enforce schema of "  # the value follows, and at the end what was expected
HINT_REFUSED: Final = "Failed to validate data against type hint `"
OF_PARAMS: Final = "MLflow cannot take a parameter as the type that the model's signature has"
# The beginnings of messages of MLflow that hold the input, with the place of the fault and words for it.
OWN_CHECKS: Final = {
    "'predict_stream' requires single input": ("input", "several rows, and a model that answers in pieces takes one"),
    "Invalid parameters found": ("params", OF_PARAMS),
}
FIRST_OF_SERVER: Final = 500  # status

_log = logging.getLogger(__name__)


class PyfuncModel(Protocol):
    """A model as `mlflow.pyfunc` or a native loader returns it."""

    def predict(self, data: Any, params: dict[str, Any] | None = None) -> Any: ...


class StreamingModel(PyfuncModel, Protocol):
    """A model that returns the parts of a prediction one by one."""

    def predict_stream(self, data: Any, params: dict[str, Any] | None = None) -> Iterator[Any]: ...


class RawModel(PyfuncModel, Protocol):
    """A model of MLflow that gives the object of its own library."""

    def get_raw_model(self) -> Any: ...


def load_pyfunc(directory: Path) -> PyfuncModel:
    """Load the model. Raises ModelLoadError for any failure, such as a library that is missing."""
    # MLflow's own server sets it, and models read it to know that they serve.
    os.environ.setdefault("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")
    try:
        Path.home()  # MLflow asks for it when it is imported
    except RuntimeError:
        os.environ["HOME"] = "/"  # as container runtimes set it for a user that has none
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # MLflow warns of type hints of its own
            from mlflow.pyfunc import (  # noqa: PLC0415  it takes a second, which only a process that loads should spend
                load_model,
            )

        # MLflow takes what follows the last slash for a file of the directory before it, and refuses one that is a link
        # to another place.
        loaded: PyfuncModel = load_model(f"{directory}/", suppress_warnings=True)
    except (AskedToEndError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also the end of a script by sys.exit, and a panic of a library in Rust
        reason = " ".join(str(error).split()) or "no reason given"
        raise ModelLoadError(f"the model in {directory} cannot be loaded: {type(error).__name__}: {reason}") from error
    return loaded


def without_input_check(model: PyfuncModel) -> PyfuncModel:
    """Return a model that is called as MLflow calls this one, but for its check of the input against the signature.

    For input that has the signature's types already. The check of the parameters stays. A model that is not of MLflow's
    class is returned as it is.
    """
    meta = getattr(model, "_model_meta", None)
    if meta is None or getattr(meta, "signature", None) is None:
        return model
    unchecked: Any = copy(model)
    unchecked._model_meta = copy(meta)
    unchecked._model_meta.signature = copy(meta.signature)
    unchecked._model_meta.signature.inputs = None
    return cast("PyfuncModel", unchecked)


def call(model: PyfuncModel, data: Any, params: dict[str, Any] | None) -> Any:
    """Return the model's predictions. Raises ServingError; an exception that the model raised goes to the log."""
    try:
        return model.predict(data, params=params)
    except (ServingError, KeyboardInterrupt):
        raise
    except BaseException as error:  # also sys.exit, a task that was cancelled, and a panic of a library in Rust
        raise _without_rows(data) or _explained(error) from error


def own_copy(prediction: Any) -> Any:
    """Return the prediction in memory that the model does not keep: it may fill the same array in its next call.

    Such a call may begin before the answer is written.
    """
    match prediction:
        case np.ndarray():
            return np.copy(prediction, order="K", subok=True)
        case pd.DataFrame() | pd.Series():
            return prediction.copy()
        case dict() if type(prediction) is dict:
            return {name: own_copy(item) for name, item in prediction.items()}
        case list() | tuple() if type(prediction) in {list, tuple}:
            return type(prediction)(map(own_copy, prediction) if _are_arrays(prediction) else prediction)
        case _:
            return prediction


def _are_arrays(items: Sequence[Any]) -> bool:
    """Return True for arrays, or dicts of arrays, by the first item: to look at each of many numbers takes long."""
    first = next(iter(items), None)
    return any(isinstance(item, np.ndarray) for item in (first.values() if type(first) is dict else (first,)))


def stream(model: StreamingModel, data: Any, params: dict[str, Any] | None) -> Generator[Any]:
    """Return the parts of a prediction as they come; closing it ends the model's generator.

    Raises ServingError, at any part.
    """
    try:
        yield from model.predict_stream(data, params=params)
    except (GeneratorExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # as above
        raise _explained(error) from error


def _without_rows(data: Any) -> ServingError | None:
    """Return the error for an input that has no rows, on which many models fail."""
    if isinstance(data, dict):  # of a chat model
        data = data.get("messages", data.get("input"))
    empty = isinstance(data, pd.DataFrame | list) and len(data) == 0
    if not empty and not (isinstance(data, np.ndarray) and data.ndim and len(data) == 0):
        return None
    return InvalidInputError([Fault(path="input", problem="there are no rows, and the model needs at least one")])


def failed(error: BaseException) -> PredictionError:
    """Return the error for a model that has raised one, which goes to the log."""
    _log.error("the model failed", exc_info=error)
    return PredictionError(f"the model failed on this input ({type(error).__name__}); the server's log says where")


def _explained(error: BaseException) -> ServingError:
    try:
        return _refusal(error) if isinstance(error, Exception) else failed(error)
    except Exception:  # noqa: BLE001  of an exception of the model's own class, which cannot say its text
        return failed(error)


def _refusal(error: Exception) -> ServingError:
    if faults := wrapper_faults(error) or hint_faults(error):
        return InvalidInputError(faults)
    if is_of_params(error):
        return InvalidInputError([Fault(path="params", problem=OF_PARAMS)])
    # Without MLflow in the process its exceptions are not raised, and importing it would take a second.
    mlflow_error = getattr(sys.modules.get("mlflow.exceptions"), "MlflowException", None)
    if mlflow_error is None or not isinstance(error, mlflow_error):
        return failed(error)
    if error.error_class == "SCHEMA_ENFORCEMENT_FAILED":
        # Its message holds the input; that of the exception within says what is wrong with it.
        reason = str(error.__context__ or "it does not fit the model's signature")
        if reason.startswith(SCHEMA_OF_VALUE):
            reason = f"Expected{reason.rpartition('Expected')[2]}"
        return InvalidInputError([Fault(path="input", problem=reason)])
    if error.message.startswith(HINT_REFUSED):  # what follows holds the input
        hint = error.message.removeprefix(HINT_REFUSED).partition("`")[0]
        return InvalidInputError(
            [Fault(path="inputs", problem=f"it does not fit the type hint of the model's own code, {hint}")]
        )
    status: int = error.get_http_status_code()
    if not is_of_libraries(error):
        return RefusedByModelError(error.message, status=status, error_code=error.error_code)
    return _refused_by_mlflow(error, status)


def _refused_by_mlflow(error: Any, status: int) -> ServingError:
    """Return the error for one of MLflow's own checks. MLflow's message may hold the input."""
    known = next((fault for start, fault in OWN_CHECKS.items() if error.message.startswith(start)), None)
    if known is None and status >= FIRST_OF_SERVER:
        return failed(error)
    path, problem = known or ("input", f"MLflow's own check refuses it ({error.error_code})")
    return InvalidInputError([Fault(path=path, problem=problem)])
