"""The `inputs` of a request: tensors with name, shape, datatype, and data in the JSON or after it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any, Final

import numpy as np

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError, at_once
from serving_runtime.frozen_record import frozen_record
from serving_runtime.input.cells import CellError, convert, every_error, json_type_name
from serving_runtime.input.tensor import flatten
from serving_runtime.protocols.open_inference.datatypes import BYTES, DATATYPES, FP16, NUMPY, model_dtypes
from serving_runtime.protocols.open_inference.raw import RawError, read_elements, read_numbers
from serving_runtime.signature import Signature

ModelDtypes = Callable[[str, int], np.dtype[Any] | None]
ReadValues = Callable[[str, tuple[int, ...], str], Any]  # of a tensor with this datatype and shape, at this place

SIZE: Final = "binary_data_size"
OF_TRITON: Final = {
    "shared_memory_region": "there is no shared memory here: send values in the request, and take them from the answer",
    "classification": "there are no classes here: leave it out, and take the values that the model predicts",
}
MOST_DIMENSIONS: Final = 32  # of an array of numpy 1; the product of thousands would take long
MOST_VALUES: Final = 1 << 50  # beyond, numpy refuses to have even an empty array of the shape


@frozen_record
class TensorHead:
    """A tensor of a request without its values. `path` is the tensor's place in the request."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    content_type: str | None
    path: str


@frozen_record
class InputTensor(TensorHead):
    """A tensor of a request. `values` are flat and in C order.

    `values` are an array of the datatype, or a list that is converted to the model's type later. Elements of BYTES are
    texts from JSON, and bytes from after it.
    """

    values: Any

    def place(self, index: int) -> str:
        return f"{self.path}.data[{index}]"


def read_input_tensors(document: Mapping[str, Any], tail: memoryview | None, signature: Signature) -> list[InputTensor]:
    """Raises MalformedRequestError, InvalidInputError with the faults of all tensors."""
    entries = document.get("inputs")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise MalformedRequestError("inputs must be an array of tensors, at least one, each an object")
    raws = _binary_data(entries, tail)
    return input_tensors(entries, list(map(_read_values, entries, raws)), signature)


def input_tensors(
    entries: Sequence[Mapping[str, Any]], values: Sequence[ReadValues | Fault], signature: Signature
) -> list[InputTensor]:
    """Return the tensors; each has its values by the function of its position, or the fault that there is none.

    A fault has the path of its tensor left out. Raises InvalidInputError with the faults of all tensors.
    """
    dtypes = model_dtypes(signature)
    steps = [
        partial(_input_tensor, entry, index, read, dtypes)
        for index, (entry, read) in enumerate(zip(entries, values, strict=True))
    ]
    tensors: list[InputTensor] = at_once(*steps)
    if twice := _twice(tensors):
        raise InvalidInputError([Fault(path=f"{twice.path}.name", problem="a name that comes twice")])
    return tensors


def tensor_heads(entries: Sequence[Mapping[str, Any]]) -> Sequence[TensorHead] | None:
    """Return the tensors without their values; None if `input_tensors` refuses them, whatever the values are."""
    paths = [f"inputs[{index}]" for index in range(len(entries))]
    if any(map(_faults, entries, paths)):
        return None
    heads = list(map(_head, entries, paths))
    return None if _twice(heads) else heads


def raw_tensors(heads: Sequence[TensorHead], raws: Sequence[memoryview]) -> list[InputTensor]:
    """Return what `input_tensors` returns if all values are bytes. Raises InvalidInputError."""
    values = at_once(
        *(partial(in_binary, raw, head.datatype, head.shape, head.path) for head, raw in zip(heads, raws, strict=True))
    )
    return list(map(_with_values, heads, values))


def _twice(tensors: Sequence[TensorHead]) -> TensorHead | None:
    """Return the first tensor with the name of an earlier one."""
    names = [tensor.name for tensor in tensors]
    if len(set(names)) == len(names):
        return None
    firsts = {name: index for index, name in reversed(list(enumerate(names)))}
    return next(tensor for index, tensor in enumerate(tensors) if firsts[tensor.name] < index)


def parameters(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Raises InvalidInputError."""
    given = entry.get("parameters")
    if not isinstance(given, dict | None):
        raise InvalidInputError(
            [Fault.mismatch(f"{path}.parameters".lstrip("."), got=json_type_name(given), expected="an object")]
        )
    return given or {}


def extension_faults(given: Mapping[str, Any], path: str) -> list[Fault]:
    """Return the faults of a tensor whose parameters ask for what only Triton does: another answer would mislead."""
    return [
        Fault(path=f"{path}.parameters.{name}", problem=problem)
        for name, problem in OF_TRITON.items()
        if given.get(name)
    ]


def _binary_data(entries: Sequence[Any], tail: memoryview | None) -> list[memoryview | None]:
    """Return the bytes of each tensor after the JSON, or None. Raises InvalidInputError, MalformedRequestError."""
    raws: list[memoryview | None] = []
    rest = tail if tail is not None else memoryview(b"")
    for index, entry in enumerate(entries):
        size = parameters(entry, f"inputs[{index}]").get(SIZE)
        if size is None:
            raws.append(None)
            continue
        path = f"inputs[{index}].parameters.{SIZE}"
        if type(size) is not int or size < 0:
            raise InvalidInputError([Fault(path=path, problem="it must be a number of bytes, 0 or more")])
        if tail is None:
            problem = "the header Inference-Header-Content-Length is missing; set it to the number of bytes of the JSON"
            raise InvalidInputError([Fault(path=path, problem=problem)])
        if size > len(rest):
            raise InvalidInputError([Fault(path=path, problem=f"{size} bytes, of which the body has only {len(rest)}")])
        raws.append(rest[:size])
        rest = rest[size:]
    if rest:
        raise MalformedRequestError(f"the body has {len(rest)} bytes more than its tensors say")
    return raws


def _read_values(entry: Mapping[str, Any], raw: memoryview | None) -> ReadValues | Fault:
    if ("data" in entry) == (raw is not None):
        found = "both" if raw is not None else "neither"
        problem = f"a tensor must have either data or parameters.binary_data_size; this one has {found}"
        return Fault(path="", problem=problem)
    return partial(in_binary, raw) if raw is not None else partial(_in_json, entry["data"])


def _input_tensor(entry: Mapping[str, Any], index: int, read: ReadValues | Fault, dtypes: ModelDtypes) -> InputTensor:
    path = f"inputs[{index}]"
    faults = _faults(entry, path)
    if isinstance(read, Fault):
        faults.append(replace(read, path=f"{path}{read.path}"))
    if faults:
        raise InvalidInputError(faults)
    assert not isinstance(read, Fault)  # noqa: S101  for the types
    head = _head(entry, path)
    values = read(head.datatype, head.shape, path)
    if isinstance(values, list) and head.datatype in NUMPY and not _is_of(dtypes(head.name, index), head.datatype):
        values = _typed(values, head.datatype, path)
    return _with_values(head, values)


def _is_of(dtype: np.dtype[Any] | None, datatype: str) -> bool:
    """Return True if the model's type is that of the datatype. numpy says of None that it equals a double's type."""
    return dtype is not None and dtype == NUMPY[datatype]


def _faults(entry: Mapping[str, Any], path: str) -> list[Fault]:
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    faults = []
    if not isinstance(name, str) or not name:
        got = "an empty string" if name == "" else _sent(entry, "name")
        faults.append(Fault.mismatch(f"{path}.name", got=got, expected="a name"))
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        got = "an unknown datatype" if isinstance(datatype, str) else _sent(entry, "datatype")
        faults.append(Fault.mismatch(f"{path}.datatype", got=got, expected=f"one of {', '.join(DATATYPES)}"))
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        got = "an array of other values" if isinstance(shape, list) else _sent(entry, "shape")
        faults.append(Fault.mismatch(f"{path}.shape", got=got, expected="an array of whole numbers, 0 or more"))
    elif len(shape) > MOST_DIMENSIONS or prod(max(length, 1) for length in shape) > MOST_VALUES:
        faults.append(Fault(path=f"{path}.shape", problem="the shape has too many dimensions or values"))
    faults += extension_faults(entry.get("parameters") or {}, path)
    return faults


def _head(entry: Mapping[str, Any], path: str) -> TensorHead:
    """Return the head of a tensor without faults. Raises InvalidInputError."""
    content_type = parameters(entry, path).get("content_type")
    return TensorHead(
        name=entry["name"],
        datatype=entry["datatype"],
        shape=tuple(entry["shape"]),
        content_type=content_type if isinstance(content_type, str) else None,
        path=path,
    )


def _with_values(head: TensorHead, values: Any) -> InputTensor:
    return InputTensor(
        name=head.name,
        datatype=head.datatype,
        shape=head.shape,
        content_type=head.content_type,
        path=head.path,
        values=values,
    )


def in_binary(raw: memoryview, datatype: str, shape: tuple[int, ...], path: str) -> Any:
    """Return the values of a tensor's bytes. Raises InvalidInputError."""
    try:
        return read_elements(raw, prod(shape)) if datatype == BYTES else read_numbers(raw, datatype, prod(shape))
    except RawError as error:
        raise InvalidInputError([Fault(path=f"{path}.data", problem=str(error))]) from None


def _in_json(data: Any, datatype: str, shape: tuple[int, ...], path: str) -> list[Any]:
    """Return the values of `data`, which may be nested as the shape is, or flat. Raises InvalidInputError."""
    if datatype == FP16:
        raise InvalidInputError(
            [Fault(path=f"{path}.datatype", problem="FP16 cannot be sent in JSON: send its bytes after the JSON")]
        )
    found, flat = flatten(data, f"{path}.data")
    if not isinstance(data, list):
        fault = Fault.mismatch(f"{path}.data", got=json_type_name(data), expected="an array of the tensor's values")
        raise InvalidInputError([fault])
    if len(flat) != prod(shape):
        problem = f"{len(flat)} values, where the shape {list(shape)} has {prod(shape)}"
        raise InvalidInputError([Fault(path=f"{path}.data", problem=problem)])
    if len(found) > 1 and found != shape:
        problem = f"an array of shape {list(found)}, where the shape says {list(shape)}"
        raise InvalidInputError([Fault(path=f"{path}.data", problem=problem)])
    return list(flat)


def _typed(values: list[Any], datatype: str, path: str) -> Any:
    """Return the values in the datatype of the request, before the model's type. Raises InvalidInputError."""
    dtype = NUMPY[datatype].newbyteorder("=")
    try:
        return convert(values, dtype)
    except CellError:
        errors = every_error(values, lambda part: convert(part, dtype), MOST_FAULTS)
        raise InvalidInputError(
            [
                Fault(
                    path=f"{path}.data[{error.index}]",
                    problem=f"{error.got}, where {datatype} takes {error.expected}",
                    expected=error.expected,
                    got=error.got,
                )
                for error in errors
            ]
        ) from None


def _sent(entry: Mapping[str, Any], key: str) -> str:
    return json_type_name(entry[key]) if key in entry else "nothing"
