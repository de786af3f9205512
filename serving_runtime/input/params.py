"""Conversion of a request's parameters into the types of the signature."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.errors import Fault, InvalidInputError
from serving_runtime.input.nested import member, nested
from serving_runtime.signature import Array, Param, Scalar

MOST_NAMES: Final = 10  # in a log line: their number is the caller's

MICROSECONDS: Final = "datetime64[us]"  # of Python's datetime
TOO_FINE: Final = "a time with more than six digits of a second, which Python's datetime cannot hold"

FLOAT: Final = Scalar(name="float")
DOUBLE: Final = Scalar(name="double")

_log = logging.getLogger(__name__)


def conform_params(given: Mapping[str, Any] | None, params: Sequence[Param] | None, path: str) -> dict[str, Any] | None:
    """Return the model's parameters among `given`, without defaults, which MLflow adds. Raises InvalidInputError."""
    if given is None:
        return None
    known = {param.name: param for param in params or ()}
    if unknown := sorted(given.keys() - known.keys()):
        _log.info(
            "ignored parameters that the model's signature does not have",
            extra={"fields": {"params": unknown[:MOST_NAMES]}},
        )
    faults: list[Fault] = []
    converted = {
        name: _conform_param(given[name], param, member(path, name), faults)
        for name, param in known.items()
        if name in given
    }
    if faults:
        raise InvalidInputError(faults)
    return converted


def _conform_param(value: Any, param: Param, path: str, faults: list[Fault]) -> Any:
    if value is None:
        return None
    kind = DOUBLE if param.type == FLOAT else param.type  # MLflow gives Python's number, and does not round it
    return _native(nested(value, Array(items=kind) if param.is_list else kind, path, faults), path, faults)


def _native(value: Any, path: str, faults: list[Fault]) -> Any:
    """Return the value in Python's own types, which MLflow documents for parameters."""
    match value:
        case list() | np.ndarray():
            return [_native(item, f"{path}[{index}]", faults) for index, item in enumerate(value)]
        case dict():
            return {key: _native(item, member(path, key), faults) for key, item in value.items()}
        case np.datetime64():
            if np.isnat(value):
                return None  # MLflow takes no NaT among times, and gives the model None for null
            if value != value.astype(MICROSECONDS):
                faults.append(Fault(path=path, problem=TOO_FINE))
            return pd.Timestamp(value.astype(MICROSECONDS)).to_pydatetime()
        case np.generic():
            return value.item()
        case _:
            return value
