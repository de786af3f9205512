"""A prediction as the tensors of an answer."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from serving_runtime.codec.encode import dumps
from serving_runtime.errors import OutputError
from serving_runtime.protocols.open_inference.datatypes import (
    BASE64,
    BYTES,
    FRAME,
    JSON,
    NAMED,
    NP,
    NUMPY,
    OF_NUMPY,
    TEXT,
    TIME,
)
from serving_runtime.signature import Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """`values` are flat: an array of numbers, or a list of texts or bytes. `content_type` is MLServer's name for what they are."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any
    content_type: str


def outputs_of(prediction: Any, signature: Signature) -> tuple[list[Output], str]:
    """The tensors, and what they are together. Raises OutputError."""
    match prediction:
        case pd.DataFrame():
            return [_column(str(name), prediction.iloc[:, at]) for at, name in enumerate(prediction.columns)], FRAME
        case pd.Series():
            named = prediction.name is not None
            return [_column(str(prediction.name) if named else output_names(signature, 1)[0], prediction)], FRAME
        case dict() if prediction and all(isinstance(value, np.ndarray | list) for value in prediction.values()):
            return [_output(str(name), value) for name, value in prediction.items()], NAMED
        case _:
            output = _output(output_names(signature, 1)[0], prediction if _has_rows(prediction) else [prediction])
            return [output], output.content_type if output.content_type in {NP, TEXT} else FRAME


def output_names(signature: Signature, count: int) -> list[str]:
    """Those of the signature, where it names as many."""
    names = [output.name for output in signature.outputs] if len(signature.outputs) == count else [None] * count
    return [name or f"output-{index}" for index, name in enumerate(names)]


def _has_rows(prediction: Any) -> bool:
    return isinstance(prediction, list | tuple | pd.Index | pd.api.extensions.ExtensionArray) or (
        isinstance(prediction, np.ndarray) and prediction.ndim > 0
    )


def _column(name: str, column: "pd.Series[Any]") -> Output:
    return replace(_output(name, column.to_numpy() if column.dtype.kind in "biufM" else column.tolist()), shape=(len(column), 1))


def _output(name: str, value: Any) -> Output:
    """Raises OutputError."""
    array = value if isinstance(value, np.ndarray) else _array(list(value))
    flat, shape = array.ravel(), array.shape
    native = array.dtype.newbyteorder("<")
    if native in OF_NUMPY:
        return Output(name=name, datatype=OF_NUMPY[native], shape=shape, values=flat, content_type=NP)
    values: list[Any] = flat.tolist() if array.dtype.kind in "USO" else list(flat)
    if array.dtype.kind in "mM":
        texts = [_text(moment) for moment in values]
        return Output(name=name, datatype=BYTES, shape=shape, values=texts, content_type=TIME if array.dtype.kind == "M" else TEXT)
    kinds = set(map(type, values))
    if kinds <= {str}:
        return Output(name=name, datatype=BYTES, shape=shape, values=values, content_type=TEXT)
    if kinds <= {bytes}:
        return Output(name=name, datatype=BYTES, shape=shape, values=values, content_type=BASE64)
    if array.dtype.kind != "O":
        raise OutputError(f"the model predicted values of type {array.dtype}, which no tensor of the protocol holds")
    return Output(name=name, datatype=BYTES, shape=shape, values=[dumps(item).decode() for item in values], content_type=JSON)


def _array(values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Numbers of one kind as an array of their shape, anything else as objects in one dimension."""
    kinds = {type(value) for value in values}
    if kinds & {int, float, bool, list, tuple, np.ndarray} or any(issubclass(kind, np.number | np.bool_) for kind in kinds):
        try:
            array = np.array([float("nan") if value is None else value for value in values] if float in kinds else values)
        except (ValueError, OverflowError):  # ragged, or whole numbers beyond 64 bits
            array = np.array(None, dtype=object)
        if array.dtype.newbyteorder("<") in NUMPY.values() and (bool not in kinds or kinds == {bool}):
            return array
    objects = np.empty(len(values), dtype=object)
    objects[:] = values
    return objects


def _text(moment: Any) -> str:
    return (
        "" if np.isnat(moment) else str(pd.Timestamp(moment).isoformat() if moment.dtype.kind == "M" else pd.Timedelta(moment).isoformat())
    )
