"""A prediction as the tensors of an answer."""

from dataclasses import replace
from enum import Enum
from typing import Any

import numpy as np
import pandas as pd

from serving_runtime.codec.encode import dumps
from serving_runtime.codec.iso8601 import iso_text, iso_texts
from serving_runtime.codec.returned_values import (
    LONE_SURROGATE,
    Values,
    as_array,
    as_known_type,
    column_array,
    column_names,
    key_text,
    refused,
)
from serving_runtime.frozen_record import frozen_record
from serving_runtime.options import Nan
from serving_runtime.protocols.open_inference.datatypes import (
    BASE64,
    BYTES,
    FRAME,
    JSON,
    NAMED,
    NP,
    OF_NUMPY,
    TEXT,
    TIME,
)
from serving_runtime.signature import Signature


@frozen_record
class Output:
    """A tensor of an answer. `values` are flat: an array of numbers, or a list of texts or bytes.

    `content_type` is MLServer's name for their kind.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any
    content_type: str


def outputs_of(prediction: Any, signature: Signature, nan: Nan = Nan.NULL) -> tuple[list[Output], str]:
    """Return the tensors, and the content type of all of them together. Raises OutputError."""
    if type(prediction) is np.ndarray and prediction.ndim and (datatype := OF_NUMPY.get(prediction.dtype)):
        name = output_name(signature)
        flat = prediction.ravel()
        return [Output(name=name, datatype=datatype, shape=prediction.shape, values=flat, content_type=NP)], NP
    prediction = as_known_type(prediction)
    if isinstance(prediction, dict):
        prediction = {name: as_known_type(value) for name, value in prediction.items()}
    match prediction:
        case pd.DataFrame():
            columns = [column_array(prediction.iloc[:, at]) for at in range(prediction.shape[1])]
            return [
                _column(name, column, nan) for name, column in zip(column_names(prediction), columns, strict=True)
            ], FRAME
        case pd.Series():
            name = (
                output_name(signature) if prediction.name is None else key_text(prediction.name, "a Series with a name")
            )
            return [_column(name, column_array(prediction), nan)], FRAME
        case dict() if prediction and all(isinstance(value, np.ndarray | list) for value in prediction.values()):
            names = [key_text(name) for name in prediction]
            if len(set(names)) < len(names):
                raise refused("a dict with two keys of the same text")
            return [_output(name, value, nan) for name, value in zip(names, prediction.values(), strict=True)], NAMED
        case _:
            rows = prediction if isinstance(prediction, list | tuple | np.ndarray) else [prediction]
            output = _output(output_name(signature), rows, nan)
            return [output], output.content_type if output.content_type in {NP, TEXT} else FRAME


def output_name(signature: Signature) -> str:
    """Return the name of the only output: the signature's, or `output-0` if that has none or several."""
    names = [output.name for output in signature.outputs]
    return (len(names) == 1 and names[0]) or "output-0"


def _column(name: str, column: Values, nan: Nan) -> Output:
    """Return a column as a tensor of two dimensions, or of more if its cells are arrays of one shape."""
    output = _output(name, column, nan)
    return replace(output, shape=(len(column), 1)) if len(output.shape) == 1 else output


def _output(name: str, value: Any, nan: Nan) -> Output:
    """Raises OutputError."""
    array = np.atleast_1d(as_known_type(value)) if isinstance(value, np.ndarray) else as_array(value)
    flat, shape = array.ravel(), array.shape
    native = array.dtype.newbyteorder("<") if array.dtype.kind in "biuf" else array.dtype
    if native in OF_NUMPY:
        return Output(name=name, datatype=OF_NUMPY[native], shape=shape, values=flat, content_type=NP)
    values, content_type = _elements(flat, nan)
    return Output(name=name, datatype=BYTES, shape=shape, values=values, content_type=content_type)


def _elements(flat: Values, nan: Nan) -> tuple[list[Any], str]:
    """Return the elements of a tensor of BYTES, and their content type. Raises OutputError."""
    if flat.dtype.kind in "mM":
        texts = [iso_text(value) for value in flat]
        if None not in texts:
            return texts, TIME if flat.dtype.kind == "M" else TEXT
        return [dumps(text).decode() for text in texts], JSON
    values: list[Any] = flat.tolist()
    if (times := iso_texts(values)) is not None:
        return times, TIME
    if all(isinstance(value, str) and not isinstance(value, Enum) for value in values):
        return [_unicode(text) for text in values], TEXT
    if all(isinstance(value, bytes | bytearray | memoryview) for value in values):
        return [bytes(value) for value in values], BASE64
    return [dumps(item, nan).decode() for item in values], JSON


def _unicode(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise refused(LONE_SURROGATE) from None
    return str(text)
