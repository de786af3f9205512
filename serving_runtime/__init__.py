"""Loads one MLflow model and answers with its predictions: as a function in a Domino `model.py`, or as a server.

Importing this package has no effect. The model is loaded when `predict` is first taken from it:

    from serving_runtime import predict

`make_predict(path)` makes such a function for a model elsewhere; `load(path)` gives the model itself.

`process` runs the server. `http` and `rpc` receive a request, `protocols` reads it as the model's input, `input`
conforms that to the signature, `prediction` calls the model, `codec` writes the answer, `observability` records it.
`model` loads and calls one model, with `loaders` or MLflow; `commands` has the commands of `model-api-runtime`.
"""

from typing import TYPE_CHECKING, Any

from model_contract.extras import extra_of_import
from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from serving_runtime.errors import ServingError as ServingError
    from serving_runtime.function import ModelFunction
    from serving_runtime.function import make_predict as make_predict
    from serving_runtime.model import Model as Model
    from serving_runtime.model import load as load

    predict: ModelFunction

__all__ = ["Model", "ServingError", "load", "make_predict", "predict"]

_read = lazy_attributes(
    __name__,
    {
        "Model": "serving_runtime.model:Model",
        "ServingError": "serving_runtime.errors:ServingError",
        "load": "serving_runtime.model:load",
        "make_predict": "serving_runtime.function:make_predict",
    },
)


def __getattr__(name: str) -> Any:
    with extra_of_import("function"):
        value: Any = _read("make_predict")() if name == "predict" else _read(name)
    globals()[name] = value  # set once: from now on it is an attribute like any other
    return value
