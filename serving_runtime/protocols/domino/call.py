"""The call of a Domino function, by keywords or by positions, as a request."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.codec.iso8601 import iso_text
from serving_runtime.errors import Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.request import JsonInput, Request, TypedFrame
from serving_runtime.input.table import json_values
from serving_runtime.protocols.mlflow.request import CHAT_KEYS, FORMATS, PARAMS, from_document
from serving_runtime.signature import Signature

VARS: Final = "vars"


def read_call(args: Sequence[Any], kwargs: Mapping[str, Any], signature: Signature) -> Request:
    """Return the request of a call. Raises InvalidInputError, MalformedRequestError."""
    named = dict(kwargs)
    params = named.pop(PARAMS, None) if _has_params(args, named, signature) else None
    try:
        params = native(params)
        value, path = _input(args, named, signature)
    except RecursionError:
        raise MalformedRequestError("the values are nested too deep") from None
    if not isinstance(params, dict | None):
        raise InvalidInputError([Fault(path=PARAMS, problem="it must be a dict")])
    if params is not None:
        params = {str(name): param for name, param in params.items()}  # as MLflow does
    if isinstance(value, pd.DataFrame):
        return Request(input=TypedFrame(frame=value), params=params)
    if isinstance(value, dict) and len(set(FORMATS) & value.keys()) == 1 and set(value) <= {*FORMATS, PARAMS}:
        return from_document({**value, **({PARAMS: params} if params else {})}, signature)
    if isinstance(value, dict) and _is_chat(value, signature):
        chat = from_document(value, signature)  # the model gets the whole body, and no arrays
        return replace(chat, params={**(chat.params or {}), **(params or {})})
    if signature.typed_in_code and not isinstance(value, list):
        value = [value]  # a type hint is always that of a list
    return Request(input=JsonInput(value=value, path=path, by_row=True), params=params)


def _is_chat(value: Mapping[str, Any], signature: Signature) -> bool:
    return signature.says_nothing and not set(FORMATS) & value.keys() and bool(set(CHAT_KEYS) & value.keys())


def _has_params(args: Sequence[Any], named: Mapping[str, Any], signature: Signature) -> bool:
    """Return True if the keyword `params` has parameters, and is no column.

    Parameters beside an input are ignored by a model that has none, as they are in a body of MLflow's protocol.
    """
    beside_input = bool(args) or named.keys() == {VARS, PARAMS}
    return signature.params is not None or (beside_input and PARAMS not in _names(signature))


def _names(signature: Signature) -> list[str]:
    return [str(column.name) for column in signature.columns] if signature.named else []


def _input(args: Sequence[Any], named: dict[str, Any], signature: Signature) -> tuple[Any, str]:
    """Return the input as one value, and its place in the body that Domino received. Raises InvalidInputError."""
    names = _names(signature)
    if args and named:
        raise InvalidInputError(
            [Fault(path="parameters", problem="some values have names and some do not; send all of them by name")]
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
    """Return values of numpy, pandas and datetime as JSON has them; a DataFrame stays one."""
    match value:
        case _ if value is pd.NaT or value is pd.NA:
            return None
        case np.datetime64():
            return iso_text(value)
        case np.generic():
            return native(value.item())
        case np.ndarray() if value.dtype.kind == "M" and value.ndim:
            return [native(item) for item in value]  # of which `tolist` makes numbers
        case np.ndarray() | pd.Index():
            return native(value.tolist())
        case pd.Series():
            return native(json_values(value))
        case dict():
            return {key: native(item) for key, item in value.items()}
        case list() | tuple():
            return [native(item) for item in value]
        case datetime() | date():
            return value.isoformat()
        case _:
            return value
