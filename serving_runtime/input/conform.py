"""Conversion of a request's input into the types of the model's signature."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from serving_runtime.errors import Fault, InvalidInputError, MalformedRequestError, at_once
from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.columns import plain_frame, to_frame, widened
from serving_runtime.input.nested import member, scalars_or_faults
from serving_runtime.input.params import conform_params
from serving_runtime.input.request import JsonInput, PassThroughInput, Request, TypedFrame
from serving_runtime.input.table import Key, Table, from_columns, from_records, from_rows, one_row
from serving_runtime.input.tensor import json_tensors, plain_array, table_tensors
from serving_runtime.signature import Anything, Array, Column, Map, Object, Scalar, Signature, Type


@frozen_record
class Conformed:
    """The arguments of `predict`. `rows` is None if the data has no rows."""

    data: Any
    params: Mapping[str, Any] | None
    rows: int | None


def conformer(signature: Signature) -> Callable[[Request], Conformed]:
    """Return the function that conforms requests to the signature.

    That function raises InvalidInputError and MalformedRequestError.
    """

    def conformed(request: Request) -> Conformed:
        data, params = at_once(
            lambda: conform(request.input, signature),
            lambda: conform_params(request.params, signature.params, request.params_path),
        )
        return Conformed(data=data, params=params, rows=rows_of(data))

    return conformed


def rows_of(data: Any) -> int | None:
    """Return the number of rows of a frame, an array or a dict of arrays; None if there is no such number."""
    match data:
        case pd.DataFrame():
            return len(data)
        case np.ndarray() if data.ndim:
            return len(data)
        case dict() if data and all(isinstance(item, np.ndarray) and item.ndim for item in data.values()):
            lengths = {len(item) for item in data.values()}
            return lengths.pop() if len(lengths) == 1 else None
        case _:
            return None


def conform(value: Table | JsonInput | TypedFrame | PassThroughInput, signature: Signature) -> Any:
    """Return the input of `predict`. Raises InvalidInputError, MalformedRequestError."""
    match value:
        case PassThroughInput(value=whole):
            return whole
        case TypedFrame(frame=frame):
            return widened(frame, signature)
        case Table():
            return _from_table(value, signature)
        case JsonInput():
            return _from_json(value, signature)


def _from_table(table: Table, signature: Signature) -> Any:
    if signature.typed_in_code:
        raise MalformedRequestError(
            f"the model's code says what it takes: send it under the key inputs, not {table.path}"
        )
    if signature.columns:
        return to_frame(table, signature)
    return table_tensors(table, signature) if signature.tensors else plain_frame(table)


def _from_json(source: JsonInput, signature: Signature) -> Any:
    if signature.typed_in_code:
        if signature.columns:
            _expect_base64(source, signature.columns[0].type)
        return source.value
    if signature.columns:
        return to_frame(json_table(source, signature), signature)
    return json_tensors(source, signature) if signature.tensors else _untyped_arrays(source)


def _expect_base64(source: JsonInput, kind: Type) -> None:
    """Raise InvalidInputError for bytes of a type hint that are no base64: MLflow would drop the wrong letters."""
    faults: list[Fault] = []
    entries = enumerate(source.value) if isinstance(source.value, list) else ()
    for index, entry in entries:
        _check_base64(entry, kind, f"{source.path}[{index}]", faults)
    if faults:
        raise InvalidInputError(faults)


def _check_base64(value: Any, kind: Type, path: str, faults: list[Fault]) -> None:
    match kind:
        case Scalar(name="binary") if isinstance(value, str):
            scalars_or_faults([value], kind, lambda _: path, faults)
        case Array(items=items) if isinstance(value, list):
            for index, item in enumerate(value):
                _check_base64(item, items, f"{path}[{index}]", faults)
        case Map(values=values) if isinstance(value, dict):
            for key, item in value.items():
                _check_base64(item, values, member(path, key), faults)
        case _:  # pydantic checks the fields of its own objects
            return


def json_table(source: JsonInput, signature: Signature) -> Table:
    """Return a JSON value as the table that a model with columns takes. Raises InvalidInputError."""
    value, columns, path = source.value, signature.columns, source.path
    if isinstance(value, dict) and (signature.named or not columns):
        return _rows_or_row(value, columns, path)
    if isinstance(value, list) and any(isinstance(item, dict) for item in value) and signature.named:
        return from_records(value, path)
    if len(columns) == 1 and signature.named:
        table = _rows_or_row({str(columns[0].name): value}, columns, path)
        return Table(columns=table.columns, rows=table.rows, path=path, place=lambda _, row: f"{path}[{row}]")
    if isinstance(value, list) and not signature.named:
        return from_rows(value, path, len(columns))
    if len(columns) == 1 and not isinstance(value, dict):
        return from_rows([value], path, 1)
    problem = (
        "send an object of columns, or a list of objects, by name"
        if signature.named
        else "send a list of rows: the columns have no names"
    )
    raise InvalidInputError([Fault(path=path, problem=problem)])


def _rows_or_row(value: dict[Key, Any], columns: Sequence[Column], path: str) -> Table:
    """Return the table of one row, with a value for each column, or of many, with a list for each column.

    A list is one value if its column takes lists.
    """
    types: dict[Key, Type] = {str(column.name): column.type for column in columns}
    if all(_is_one_value(cell, types.get(name)) for name, cell in value.items()):
        return one_row(value, path)
    odd = next((name for name, cell in value.items() if not isinstance(cell, list)), None)
    if odd is not None:  # it may be empty
        problem = (
            f'the column "{odd}" has one value where others have a list; send a list for each, or one value for each'
        )
        raise InvalidInputError([Fault(path=path, problem=problem)])
    return from_columns(value, path)


def _is_one_value(cell: Any, kind: Type | None) -> bool:
    """Return True if a cell has the shape of one value of the type."""
    match kind:
        case Array(items=items):
            return isinstance(cell, list) and all(_is_one_value(item, items) for item in cell)
        case Object() | Map():
            return isinstance(cell, dict)
        case Anything():
            return not isinstance(cell, list) or not cell
        case _:
            return not isinstance(cell, list)


def _untyped_arrays(source: JsonInput) -> Any:
    """Return the arrays that MLflow makes of a value for a model without a signature."""
    value, path = source.value, source.path
    if isinstance(value, dict):
        return {name: plain_array(item, f"{path}.{name}") for name, item in value.items()}
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        if not source.by_row:
            return [
                {name: plain_array(item, f"{path}[{row}].{name}") for name, item in record.items()}
                for row, record in enumerate(value)
            ]
        table = from_records(value, path)
        return {str(key): np.array(plain_array(list(cells), path)) for key, cells in table.columns.items()}
    return plain_array(value, path)
