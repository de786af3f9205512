"""The function of a Domino model API: `from serving_runtime import predict` in its `model.py` is all of it.

Domino calls it with the members of `data` as keywords, or those of `parameters` as positions, and sends back what it
returns.
"""

import os
import threading
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from model_contract.model_ref import ContractError
from serving_runtime.codec.encode import encode
from serving_runtime.codec.strict_json import read_value
from serving_runtime.errors import Fault, InvalidInputError, ServingError
from serving_runtime.input.forms import Frame, Given, Request
from serving_runtime.location import resolve_model_path
from serving_runtime.model import Model, load
from serving_runtime.protocols.mlflow.request import FORMATS, PARAMS, from_document
from serving_runtime.signature import Signature

VARS: Final = "vars"
WARM_UP: Final = "MODEL_API_RUNTIME_WARM_UP"


class ModelFunction:
    """Callable as Domino calls: by columns, by records, by position, or with a body of MLflow's protocol.

    Raises ServingError if the input or the model is at fault, ContractError if the variables do not say where the model
    is. The text of a ServingError begins with the status and the code that the server answers, such as `400
    INVALID_PARAMETER_VALUE`: Domino's harness may answer any exception with the status 500, and its text is what tells
    the caller whose fault it is.
    """

    __name__ = "predict"

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._model: Model | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Predictions in Python's own types, as JSON has them: a list for an array, one dict for each
        row of a frame.
        """
        model = self.model()
        try:
            request = read_call(args, kwargs, model.metadata.signature)
            return read_value(
                encode(model.predict(request), wrapped=False)
            )  # orjson rounds whole numbers beyond 64 bits
        except ServingError as error:
            error.args = (f"{error.status} {error.error_code}: {error.message}",)
            raise error from None  # what the model raised may hold the input: it is in the log only

    def model(self) -> Model:
        """Loads and warms it the first time."""
        with self._lock:
            if self._model is None:
                model = load(resolve_model_path(self._environ))
                if warm_up_wanted(self._environ):
                    model.warm_up()
                self._model = model
        return self._model


def make_predict(path: str | Path | None = None) -> ModelFunction:
    """The function for the model at `path`, or at the place that the variables name. The model is loaded now.

    Where the variables name no place it is loaded by the first call, which then says what is missing: a build imports
    the file too.
    """
    from model_contract.names import ARTIFACTS_PATH  # noqa: PLC0415

    function = ModelFunction(os.environ if path is None else {**os.environ, ARTIFACTS_PATH: str(path)})
    try:
        function.model()
    except ContractError:
        if path is not None:
            raise
    return function


def warm_up_wanted(environ: Mapping[str, str]) -> bool:
    """Return False if the variable of the server's flag --warm-up says so."""
    return environ.get(WARM_UP, "").strip().lower() not in {"false", "0", "no", "off"}


def read_call(args: Sequence[Any], kwargs: Mapping[str, Any], signature: Signature) -> Request:
    """The request that a call is. Raises InvalidInputError, MalformedRequestError."""
    named = dict(kwargs)
    params = named.pop(PARAMS, None) if signature.params is not None else None
    value, path = _input(args, named, signature)
    if not isinstance(params, dict | None):
        raise InvalidInputError([Fault(path=PARAMS, problem="it must be a dict")])
    if isinstance(value, pd.DataFrame):
        return Request(input=Frame(frame=value), params=params)
    if isinstance(value, dict) and len(set(FORMATS) & value.keys()) == 1 and set(value) <= {*FORMATS, PARAMS}:
        return from_document({**value, **({PARAMS: params} if params else {})}, signature)
    if signature.typed_in_code and not isinstance(value, list):
        value = [value]  # a type hint is always that of a list
    return Request(input=Given(value=value, path=path, by_row=True), params=params)


def _input(args: Sequence[Any], named: dict[str, Any], signature: Signature) -> tuple[Any, str]:
    """The input as one value, and its place in the body that Domino was sent."""
    names = [str(column.name) for column in signature.columns] if signature.named else []
    if args and named:
        raise InvalidInputError(
            [Fault(path="parameters", problem="values by position and by name; send all of them by name")]
        )
    if set(named) == {VARS} and VARS not in names:
        return native(named[VARS]), VARS
    if named:
        return native(named), "data"
    if len(args) == 1:
        return native(args[0]), "parameters[0]"
    if args and len(args) == len(names):
        return dict(zip(names, map(native, args), strict=True)), "parameters"
    if args and signature.typed_in_code:
        return native(list(args)), "parameters"
    if args and not signature.named:
        return [native(list(args))], "parameters"
    problem = f"{len(args)} values, where the model takes {', '.join(names) or 'one'}" if args else "there is no input"
    raise InvalidInputError([Fault(path="parameters", problem=problem)])


def native(value: Any) -> Any:
    """Values of numpy, pandas and datetime as JSON would have brought them; a DataFrame stays one."""
    match value:
        case np.generic():
            return native(value.item())
        case np.ndarray() | pd.Series() | pd.Index():
            return native(value.tolist())
        case dict():
            return {key: native(item) for key, item in value.items()}
        case list() | tuple():
            return [native(item) for item in value]
        case datetime() | date():
            return value.isoformat()
        case _:
            return value
