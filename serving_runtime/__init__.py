"""Loads one MLflow model and answers with its predictions: as a function in a Domino `model.py`, or as a server.

Importing this package has no effect. The model is loaded when `predict` is first taken from it:

    from serving_runtime import predict

`make_predict(path)` makes such a function for a model elsewhere; `load(path)` gives the model itself.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from model_contract.extras import extra_of_import

if TYPE_CHECKING:
    from serving_runtime.errors import ServingError as ServingError
    from serving_runtime.function import ModelFunction
    from serving_runtime.function import make_predict as make_predict
    from serving_runtime.model import Model as Model
    from serving_runtime.model import load as load

    predict: ModelFunction

__all__ = ["Model", "ServingError", "load", "make_predict", "predict"]

_HOMES: Final = {"Model": "model", "ServingError": "errors", "load": "model", "make_predict": "function"}


def __getattr__(name: str) -> Any:
    if name != "predict" and name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with extra_of_import("function"):
        home = import_module(f"serving_runtime.{_HOMES.get(name, 'function')}")
    value: Any = home.make_predict() if name == "predict" else getattr(home, name)
    globals()[name] = value  # taken once: from now on it is an attribute like any other
    return value
