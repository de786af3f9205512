"""The `inputs` of a request: tensors with name, shape, datatype, and data in the JSON or behind it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, Final

import numpy as np

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, MalformedRequestError, at_once
from serving_runtime.input.cells import CellError, convert, every_error, json_type_name
from serving_runtime.input.tensor import flatten
from serving_runtime.protocols.open_inference.datatypes import BYTES, DATATYPES, FP16, NUMPY, takes
from serving_runtime.protocols.open_inference.raw import RawError, read_elements, read_numbers
from serving_runtime.signature import Signature

Taken = Callable[[str, int], np.dtype[Any] | None]

SIZE: Final = "binary_data_size"
MOST_DIMENSIONS: Final = 32  # of an array of numpy 1; their product would take long where there are thousands
MOST_VALUES: Final = 1 << 50  # beyond, numpy refuses to have even an empty array of the shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """`values` are flat and in C order: an array of the datatype, or a list that the model's type judges. Elements of
    BYTES are texts from JSON, bytes from behind it. `path` is the tensor's place in the request.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    values: Any
    content_type: str | None
    path: str

    def place(self, index: int) -> str:
        return f"{self.path}.data[{index}]"


def read_heads(document: Mapping[str, Any], tail: memoryview | None, signature: Signature) -> list[Head]:
    """Raises MalformedRequestError, InvalidInputError with the faults of all tensors."""
    entries = document.get("inputs")
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise MalformedRequestError("inputs must be an array of tensors, at least one, each an object")
    raws = _raws(entries, tail)
    taken = takes(signature)
    steps = [
        partial(_head, entry, index, raw, taken) for index, (entry, raw) in enumerate(zip(entries, raws, strict=True))
    ]
    heads: list[Head] = at_once(*steps)
    names = [head.name for head in heads]
    if len(set(names)) < len(names):
        firsts = {name: index for index, name in reversed(list(enumerate(names)))}
        twice = next(head for index, head in enumerate(heads) if firsts[head.name] < index)
        raise InvalidInputError([Fault(path=f"{twice.path}.name", problem="a name that comes twice")])
    return heads


def parameters(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Raises InvalidInputError."""
    given = entry.get("parameters")
    if not isinstance(given, dict | None):
        raise InvalidInputError(
            [Fault.mismatch(f"{path}.parameters".lstrip("."), got=json_type_name(given), expected="an object")]
        )
    return given or {}


def _raws(entries: Sequence[Any], tail: memoryview | None) -> list[memoryview | None]:
    """What each tensor has behind the JSON. Raises InvalidInputError, MalformedRequestError."""
    raws: list[memoryview | None] = []
    rest = tail if tail is not None else memoryview(b"")
    for index, entry in enumerate(entries):
        size = parameters(entry, f"inputs[{index}]").get(SIZE)
        if size is None:
            raws.append(None)
            continue
        path = f"inputs[{index}].parameters.{SIZE}"
        if type(size) is not int or size < 0:
            raise InvalidInputError([Fault(path=path, problem="it must be a number of bytes, none of them negative")])
        if tail is None:
            raise InvalidInputError(
                [
                    Fault(
                        path=path,
                        problem="there is no header Inference-Header-Content-Length that says where they begin",
                    )
                ]
            )
        if size > len(rest):
            raise InvalidInputError([Fault(path=path, problem=f"{size} bytes, of which the body has only {len(rest)}")])
        raws.append(rest[:size])
        rest = rest[size:]
    if rest:
        raise MalformedRequestError(f"the body has {len(rest)} bytes more than its tensors say")
    return raws


def _head(entry: Mapping[str, Any], index: int, raw: memoryview | None, taken: Taken) -> Head:
    path = f"inputs[{index}]"
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    faults = []
    if not isinstance(name, str) or not name:
        faults.append(Fault.mismatch(f"{path}.name", got=_sent(entry, "name"), expected="a name"))
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        got = "an unknown datatype" if isinstance(datatype, str) else _sent(entry, "datatype")
        faults.append(Fault.mismatch(f"{path}.datatype", got=got, expected=f"one of {', '.join(DATATYPES)}"))
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        got = "an array of others" if isinstance(shape, list) else _sent(entry, "shape")
        faults.append(Fault.mismatch(f"{path}.shape", got=got, expected="an array of lengths, none of them negative"))
    elif len(shape) > MOST_DIMENSIONS or prod(max(length, 1) for length in shape) > MOST_VALUES:
        faults.append(Fault(path=f"{path}.shape", problem="no array has a shape of so many values"))
    if ("data" in entry) == (raw is not None):
        both = "both data and binary_data_size" if raw is not None else "neither data nor parameters.binary_data_size"
        faults.append(Fault(path=path, problem=f"a tensor has one of them, and this has {both}"))
    if faults:
        raise InvalidInputError(faults)
    assert isinstance(name, str) and isinstance(datatype, str) and shape is not None  # noqa: S101  for the types
    lengths = tuple(shape)
    values = (
        _behind(raw, datatype, lengths, path) if raw is not None else _in_json(entry["data"], datatype, lengths, path)
    )
    if isinstance(values, list) and datatype in NUMPY and taken(name, index) != NUMPY[datatype]:
        values = _typed(values, datatype, path)
    content_type = parameters(entry, path).get("content_type")
    kept = content_type if isinstance(content_type, str) else None
    return Head(name=name, datatype=datatype, shape=lengths, values=values, content_type=kept, path=path)


def _behind(raw: memoryview, datatype: str, shape: tuple[int, ...], path: str) -> Any:
    try:
        return read_elements(raw, prod(shape)) if datatype == BYTES else read_numbers(raw, datatype, prod(shape))
    except RawError as error:
        raise InvalidInputError([Fault(path=f"{path}.data", problem=str(error))]) from None


def _in_json(data: Any, datatype: str, shape: tuple[int, ...], path: str) -> list[Any]:
    """Nested as the shape is, or flat."""
    if datatype == FP16:
        raise InvalidInputError(
            [Fault(path=f"{path}.datatype", problem="FP16 is sent behind the JSON only, as JSON has no such numbers")]
        )
    found, flat = flatten(data, f"{path}.data")
    if not isinstance(data, list) or len(flat) != prod(shape):
        count = f"{len(flat)} values" if isinstance(data, list) else json_type_name(data)
        raise InvalidInputError(
            [Fault(path=f"{path}.data", problem=f"{count}, where the shape {list(shape)} has {prod(shape)}")]
        )
    if len(found) > 1 and found != shape:
        problem = f"an array of shape {list(found)}, where the shape says {list(shape)}"
        raise InvalidInputError([Fault(path=f"{path}.data", problem=problem)])
    return list(flat)


def _typed(values: list[Any], datatype: str, path: str) -> Any:
    """In the type that the request says, before the model's."""
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
