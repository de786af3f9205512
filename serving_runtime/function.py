"""The function of a Domino model API: `from serving_runtime import predict` is a whole `model.py`.

Domino calls it with the members of `data` as keywords, or those of `parameters` as positions, and sends back its
return value.
"""

import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from model_contract.model_ref import ContractError
from model_contract.names import ARTIFACTS_PATH
from serving_runtime.codec.encode import encode
from serving_runtime.codec.strict_json import read_written
from serving_runtime.errors import ServingError
from serving_runtime.location import resolve_model_path
from serving_runtime.model import Model, load
from serving_runtime.prediction.warm_up import warm_up
from serving_runtime.protocols.domino.call import read_call

WARM_UP: Final = "MODEL_API_RUNTIME_WARM_UP"


class ModelFunction:
    """Callable as Domino calls: by columns, by records, by position, or with a body of MLflow's protocol.

    Raises ServingError if the input or the model is at fault, ContractError if the variables do not name a model. The
    text of a ServingError begins with the status and the code of the server's answer, such as `400
    INVALID_PARAMETER_VALUE`: Domino's harness may answer any exception with the status 500, and the text tells the
    caller if the input or the server is at fault.
    """

    __name__ = "predict"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._model: Model | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return predictions in Python's own types: a list for an array, one dict for each row of a frame."""
        model = self.model()
        try:
            request = read_call(args, kwargs, model.metadata.signature)
            return read_written(encode(model.predict(request), wrapped=False))
        except ServingError as error:
            error.args = (f"{error.status} {error.error_code}: {error.message}",)
            raise error from None  # the model's own error may hold the input: it is in the log only

    def model(self) -> Model:
        """Return the model, which is loaded and warmed up the first time."""
        with self._lock:
            if self._model is None:
                model = load(resolve_model_path(self._environ))
                if warm_up_wanted(self._environ):
                    warm_up(model)
                self._model = model
        return self._model


def make_predict(path: str | Path | None = None) -> ModelFunction:
    """Return the function for the model at `path`, or at the place that the variables name. It loads the model now.

    If the variables name no place, the first call loads it and says what is missing: a build imports the file too.
    """
    function = ModelFunction(os.environ if path is None else {**os.environ, ARTIFACTS_PATH: str(path)})
    try:
        function.model()
    except ContractError:
        if path is not None:
            raise
    return function


def warm_up_wanted(environ: Mapping[str, str]) -> bool:
    """Return False if the variable of the server's option --warm-up is set to no."""
    return environ.get(WARM_UP, "").strip().lower() not in {"false", "0", "no", "off"}
