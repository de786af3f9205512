"""The tensors of a request as the columns or tensors of the model's signature."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from serving_runtime.codec.strict_json import read_value
from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError
from serving_runtime.input.nested import scalars_or_faults
from serving_runtime.input.request import FlatTensor, JsonInput, Request
from serving_runtime.input.table import Columns, Key, Table
from serving_runtime.protocols.open_inference.datatypes import BASE64, BYTES, FRAME, JSON, TEXT, TIME, wire_names
from serving_runtime.protocols.open_inference.input_tensors import InputTensor, parameters, read_input_tensors
from serving_runtime.signature import Array, Scalar, Signature, Type

# Parameters of the protocol and of its clients; they reach the model only if its signature has them.
RESERVED: Final = frozenset(
    (
        "content_type",
        "headers",
        "binary_data_output",
        "sequence_id",
        "sequence_start",
        "sequence_end",
        "priority",
        "timeout",
    )
)
INPUTS: Final = "inputs"
# The types that a column's own content type names if there is no signature.
OF_CONTENT: Final = {BASE64: Scalar(name="binary"), TIME: Scalar(name="datetime")}


def read_tensors(document: Mapping[str, Any], tail: memoryview | None, signature: Signature) -> Request:
    """Raises MalformedRequestError, InvalidInputError."""
    given = parameters(document, "")
    return request_of(read_input_tensors(document, tail, signature), given, signature)


def request_of(tensors: Sequence[InputTensor], given: Mapping[str, Any], signature: Signature) -> Request:
    """Return the request of tensors and `given` parameters. Raises InvalidInputError."""
    own = {param.name for param in signature.params or ()}
    params = {name: value for name, value in given.items() if name in own or name not in RESERVED}
    return Request(
        input=_input(tensors, signature, given.get("content_type")), params=params or None, params_path="parameters"
    )


def _input(tensors: Sequence[InputTensor], signature: Signature, content_type: Any) -> Table | JsonInput:
    if signature.typed_in_code:
        return _typed_in_code(tensors, signature)
    if signature.columns:
        return _matrix(tensors[0], signature) if _is_matrix(tensors, signature) else _columns(tensors, signature)
    if content_type == FRAME and not signature.tensors:
        return _columns(tensors, signature)
    if content_type == TEXT and len(tensors) == 1 and tensors[0].datatype == BYTES and not signature.tensors:
        texts = _texts(tensors[0])  # a list of them, whatever the shape, as MLServer's codec reads it
        return JsonInput(value=FlatTensor(shape=(len(texts),), values=texts), path=f"{tensors[0].path}.data")
    if len(tensors) == 1 and len(signature.tensors) <= 1:
        return JsonInput(value=_flat_tensor(tensors[0]), path=f"{tensors[0].path}.data")
    if signature.tensors and not signature.named:
        raise InvalidInputError([Fault(path=INPUTS, problem=f"{len(tensors)} tensors, where the model takes one")])
    places = {tensor.name: f"{tensor.path}.data" for tensor in tensors}
    return JsonInput(value={tensor.name: _flat_tensor(tensor) for tensor in tensors}, path=INPUTS, places=places)


def _typed_in_code(tensors: Sequence[InputTensor], signature: Signature) -> JsonInput:
    """Return the values of the only tensor as a list, which the model's own code reads. Raises InvalidInputError."""
    if len(tensors) > 1:
        raise InvalidInputError(
            [Fault(path=INPUTS, problem=f"{len(tensors)} tensors, where the model's code takes one list")]
        )
    kind = signature.columns[0].type if signature.columns else Scalar(name="string")
    cells = _cells(tensors[0], kind)
    return JsonInput(value=cells if isinstance(cells, list) else cells.tolist(), path=f"{tensors[0].path}.data")


def _flat_tensor(tensor: InputTensor) -> FlatTensor:
    values = _texts(tensor) if tensor.datatype == BYTES else tensor.values
    return FlatTensor(shape=tensor.shape, values=values)


def _is_matrix(tensors: Sequence[InputTensor], signature: Signature) -> bool:
    """Return True if one tensor holds all columns by position, as KServe's clients of tabular models send it."""
    columns = signature.columns
    return (
        len(tensors) == 1
        and len(tensors[0].shape) == 2  # noqa: PLR2004  rows and columns
        and tensors[0].shape[1] == len(columns)
        and tensors[0].name not in {str(column.name) for column in columns}
        and not (signature.named and signature.repeats_a_name)
    )


def _matrix(tensor: InputTensor, signature: Signature) -> Table:
    rows, width = tensor.shape
    values = _texts(tensor) if tensor.datatype == BYTES else tensor.values
    by_row = (
        values.reshape(tensor.shape)
        if isinstance(values, np.ndarray)
        else [values[start : start + width] for start in range(0, len(values), width)]
    )
    keys = [position if column.name is None else column.name for position, column in enumerate(signature.columns)]
    columns = Columns(keys, by_row)
    return Table(
        columns=columns,
        rows=rows,
        path=INPUTS,
        place=lambda key, row: tensor.place(row * width + columns.positions[key]),
    )


def _columns(tensors: Sequence[InputTensor], signature: Signature) -> Table:
    tensors = [tensor if tensor.shape else replace(tensor, shape=(1,)) for tensor in tensors]  # a value is one row
    columns = signature.columns if signature.named else ()
    own = dict(zip(wire_names(columns, "input"), columns, strict=True))
    kinds: Mapping[str, Type] = {wire: column.type for wire, column in own.items()}
    if not signature.named:
        kinds = {tensor.name: column.type for tensor, column in zip(tensors, signature.columns, strict=False)}
    wrong = [tensor for tensor in tensors if not _is_column(tensor, kinds.get(tensor.name))]
    if wrong:
        problem = "the shape of a column must be [rows] or [rows, 1], or [] for one row"
        raise InvalidInputError([Fault(path=f"{tensor.path}.shape", problem=problem) for tensor in wrong[:MOST_FAULTS]])
    lengths = {tensor.name: tensor.shape[0] for tensor in tensors}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise InvalidInputError(
            [Fault(path=INPUTS, problem=f"the columns must have the same number of values: {told}")]
        )
    unnamed = bool(signature.columns) and not signature.named
    by_name: dict[Key, InputTensor] = {}
    for position, tensor in enumerate(tensors):
        key = position if unnamed else own[tensor.name].name if tensor.name in own else tensor.name
        if key in by_name:
            problem = "a column whose name the model's signature has twice: send it once, by its name"
            raise InvalidInputError([Fault(path=f"{tensor.path}.name", problem=problem)])
        by_name[key] = tensor
    return Table(
        columns={
            key: _cells(tensor, kinds.get(tensor.name)) if signature.columns else _decoded(tensor)
            for key, tensor in by_name.items()
        },
        rows=tensors[0].shape[0],
        path=INPUTS,
        place=lambda key, row: by_name[key].place(row),
    )


def _is_column(tensor: InputTensor, kind: Type | None) -> bool:
    is_list = isinstance(kind, Array) and tensor.datatype != BYTES
    return len(tensor.shape) == 1 or (len(tensor.shape) > 1 and (is_list or tensor.shape[1:] == (1,)))


def _cells(tensor: InputTensor, kind: Type | None) -> Any:
    """Return one value for each row, as JSON has it, or an array of them. Raises InvalidInputError."""
    if tensor.datatype != BYTES:
        return _lists(tensor) if isinstance(kind, Array) and len(tensor.shape) > 1 else tensor.values
    if kind == Scalar(name="binary") and tensor.content_type != BASE64:
        return list(tensor.values)
    texts = _texts(tensor)
    is_json = tensor.content_type == JSON or (
        tensor.content_type != TEXT and kind is not None and not isinstance(kind, Scalar)
    )
    return _values(texts, tensor) if is_json else texts


def _decoded(tensor: InputTensor) -> Any:
    """Return the values of a column that only its content type describes. Raises InvalidInputError."""
    cells = _cells(tensor, None)
    kind = OF_CONTENT.get(tensor.content_type or "") if tensor.datatype == BYTES else None
    if kind is None:
        return cells
    faults: list[Fault] = []
    converted = scalars_or_faults(cells, kind, tensor.place, faults)
    if faults:
        raise InvalidInputError(faults)
    return converted


def _lists(tensor: InputTensor) -> list[Any]:
    """Return each row as nested lists."""
    nested: list[Any] = list(tensor.values) if isinstance(tensor.values, list) else tensor.values.tolist()
    for length in reversed(tensor.shape[1:]):
        nested = [nested[at * length : (at + 1) * length] for at in range(len(nested) // length if length else 0)]
    return nested


def _texts(tensor: InputTensor) -> list[Any]:
    """Return the elements as texts. Raises InvalidInputError if bytes after the JSON are no UTF-8."""
    texts, faults = [], []
    for index, value in enumerate(tensor.values):
        try:
            texts.append(value.decode() if isinstance(value, bytes) else value)
        except UnicodeDecodeError:
            faults.append(Fault.mismatch(tensor.place(index), got="bytes that are no UTF-8", expected="a string"))
    if faults:
        raise InvalidInputError(faults)
    return texts


def _values(texts: Sequence[Any], tensor: InputTensor) -> list[Any]:
    values, faults = [], []
    for index, text in enumerate(texts):
        try:
            values.append(read_value(text.encode("utf-8", "surrogatepass")) if isinstance(text, str) else text)
        except MalformedRequestError as error:
            faults.append(Fault(path=tensor.place(index), problem=f"the string must hold JSON: {error}"))
    if faults:
        raise InvalidInputError(faults)
    return values
