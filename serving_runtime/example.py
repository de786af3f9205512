"""The input example of a model, read as MLflow wrote it.

MLflow writes values that a request may not hold: NaN and infinity, and NaT as a number.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer, json_table
from serving_runtime.input.request import FlatTensor, JsonInput, Request
from serving_runtime.input.table import Table
from serving_runtime.input.tensor import flatten
from serving_runtime.mlmodel import Metadata
from serving_runtime.protocols.mlflow.request import from_document
from serving_runtime.signature import Array, Map, Object, Scalar, Signature, Tensor, Type

NAT = np.iinfo(np.int64).min  # the number by which numpy writes NaT
UNUSABLE: Final = "the model is not warmed: its input example cannot be used: {reason}"
FLOATS = frozenset({"float", "double"})


class UnusableExampleError(ServingError):
    """The model has an example that cannot be sent to it."""


def read_example(metadata: Metadata) -> Request | None:
    """Return the example as a request, or None if the model has none. Raises UnusableExampleError."""
    if metadata.serving_example is None:
        return None
    try:
        document = json.loads((metadata.directory / metadata.serving_example).read_text())
        request = _request(document, metadata.signature)
    except ServingError as error:
        raise UnusableExampleError(error.message) from error
    except (OSError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise UnusableExampleError(f"its file cannot be read ({type(error).__name__})") from error
    return request


def example_problem(metadata: Metadata) -> str | None:
    """Return the sentence that says why the model's example cannot be used; None if it can, or if there is none."""
    try:
        if request := read_example(metadata):
            conformer(metadata.signature)(request)
    except ServingError as error:
        return UNUSABLE.format(reason=error)
    return None


def _request(document: Any, signature: Signature) -> Request:
    if not isinstance(document, dict):
        raise UnusableExampleError("its file holds no JSON object")
    request = from_document(document, signature)
    params = request.params and {name: _numbers(value) for name, value in request.params.items()}
    return replace(request, input=_as_written(request.input, signature), params=params)


def _as_written(value: Any, signature: Signature) -> Any:
    if signature.typed_in_code:
        return value
    if isinstance(value, JsonInput) and signature.columns:
        value = json_table(value, signature)
    if isinstance(value, Table) and signature.columns:
        return _table(value, signature)
    if isinstance(value, JsonInput) and signature.tensors:
        return _tensors(value, signature)
    return value


def _table(table: Table, signature: Signature) -> Table:
    """Return the table with its columns by name or by position, as the signature has them."""
    by_name: Mapping[str, Type] = {str(column.name): column.type for column in signature.columns}
    by_position = [column.type for column in signature.columns]
    columns = {}
    for position, (key, cells) in enumerate(table.columns.items()):
        at = by_position[position] if position < len(by_position) else None
        kind = by_name.get(str(key)) if table.named and signature.named else at
        columns[key] = _column(cells, kind)
    return replace(table, columns=columns)


def _column(cells: Sequence[Any], kind: Type | None) -> Any:
    written = [_cell(cell, kind) for cell in cells]
    return _numbers(written) if isinstance(kind, Scalar) and kind.name in FLOATS else written


def _numbers(value: Any) -> Any:
    """Return one number, or a list of numbers, as an array if it has an infinite one, which only arrays may have."""
    infinite = any(map(_infinite, value)) if isinstance(value, list) else _infinite(value)
    return np.array(value, dtype=np.float64) if infinite else value


def _cell(cell: Any, kind: Type | None) -> Any:
    match kind, cell:
        case (Scalar(), float()) if math.isnan(cell):
            return None
        case Array(items=items), list():
            return _column(cell, items)
        case Map(values=values), dict():
            return {key: _numbers(_cell(item, values)) for key, item in cell.items()}
        case Object(properties=properties), dict():
            kinds = {name: described.type for name, described in properties.items()}
            return {key: _numbers(_cell(item, kinds.get(key))) for key, item in cell.items()}
        case _:
            return cell


def _tensors(source: JsonInput, signature: Signature) -> JsonInput:
    if not signature.named:
        return replace(source, value=_tensor(source.value, signature.tensors[0], source.path))
    if not isinstance(source.value, dict):
        return source
    specs = {str(spec.name): spec for spec in signature.tensors}
    return replace(
        source,
        value={
            name: _tensor(item, specs[name], source.path) if name in specs else item
            for name, item in source.value.items()
        },
    )


def _tensor(value: Any, spec: Tensor, path: str) -> Any:
    if spec.dtype.kind not in "fM":
        return value
    shape, flat = flatten(value, path)
    if spec.dtype.kind == "M" and int in map(
        type, flat
    ):  # as numpy gives nanoseconds, which Python's times do not have
        return FlatTensor(
            shape=shape,
            values=np.array([NAT if cell is None else cell for cell in flat], dtype=np.int64).astype(spec.dtype),
        )
    if any(map(_infinite, flat)):
        return FlatTensor(shape=shape, values=np.array(flat, dtype=np.float64))
    return FlatTensor(
        shape=shape, values=[None if isinstance(cell, float) and math.isnan(cell) else cell for cell in flat]
    )


def _infinite(value: Any) -> bool:
    return isinstance(value, float) and math.isinf(value)
