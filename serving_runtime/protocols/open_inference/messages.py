"""The messages of the protocol over gRPC: a request read as the model's input, a prediction written as a response.

https://github.com/kserve/open-inference-protocol/blob/main/specification/protocol/inference_grpc.md
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache, partial
from math import prod
from pathlib import Path
from typing import Any, Final

import numpy as np
from google.protobuf.message import DecodeError

from serving_runtime.codec.proto_file import ProtoFile
from serving_runtime.errors import Fault, InvalidInputError, MalformedRequestError
from serving_runtime.frozen_record import frozen_record
from serving_runtime.protocols.interface import Answer, Inputs, Message, Prediction, ServedModel
from serving_runtime.protocols.kserve_endpoints import expect
from serving_runtime.protocols.open_inference.answer import RequestedOutput, expect_no_extension, wanted_outputs
from serving_runtime.protocols.open_inference.datatypes import BYTES, FP16, NUMPY
from serving_runtime.protocols.open_inference.input_tensors import (
    ReadValues,
    TensorHead,
    extension_faults,
    in_binary,
    input_tensors,
    raw_tensors,
    tensor_heads,
)
from serving_runtime.protocols.open_inference.outputs import Output
from serving_runtime.protocols.open_inference.raw import encoded, write_values
from serving_runtime.protocols.open_inference.request import request_of

INFERENCE: Final = ProtoFile(Path(__file__).with_name("inference.proto"))
PROTOBUF: Final = b"application/grpc"
INDEX: Final = "RepositoryIndex"
# The field of the values of each datatype.
CONTENTS: Final = {
    "BOOL": "bool_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    "INT64": "int64_contents",
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    BYTES: "bytes_contents",
}
# The field holds numbers that the datatype does not.
NARROW: Final = frozenset({"INT8", "INT16", "UINT8", "UINT16"})

LARGE: Final = 32 << 10  # bytes
# Clients repeat few different heads: the names, types and shapes of their tensors.
KNOWN_HEADS: Final = 256
LARGEST_KNOWN: Final = 4096  # bytes of a head
# Raw numbers are copied and cast by numpy, in so small a part of the time that JSON takes.
RAW_TO_JSON: Final = 32
RAW_TAG: Final = 7 << 3 | 2  # of raw_input_contents: its number, and "so many bytes"
MOST_FIELDS: Final = 1000  # of a message whose raw tensors are searched for; others are parsed as they are
CONTINUES: Final = 0x80  # in a byte of a varint: another one follows
SEVEN_BITS: Final = 0x7F

OutputHead = tuple[str, str, tuple[int, ...], str]  # name, datatype, shape and content type

_Request: Final = INFERENCE.message("ModelInferRequest")
_Response: Final = INFERENCE.message("ModelInferResponse")
_Contents: Final = INFERENCE.message("InferTensorContents")


def parsed(kind: type[Any], body: bytes) -> Any:
    """Return the message of these bytes. Raises MalformedRequestError."""
    try:
        return kind.FromString(body)
    except DecodeError:
        raise MalformedRequestError(f"the message is no {kind.DESCRIPTOR.full_name}") from None


def expect_model(name: str, version: str, served: ServedModel) -> None:
    """Raise UnknownModelError if a request names another model or, unless it is empty, another version."""
    expect(served, {"model": name, **({"version": version} if version else {})}, listed=INDEX)


@frozen_record
class Head:
    """A ModelInferRequest without its raw tensors. `tensors` is None if some tensor has contents or a fault."""

    request: Any
    parameters: Mapping[str, Any]
    requested: RequestedOutput
    tensors: Sequence[TensorHead] | None


def read_infer(message: Message, served: ServedModel) -> Inputs:
    """Read a ModelInferRequest. Raises ServingError."""
    body, raws = _split(message.body)
    head = _known_head(body, raw=True) if raws and len(body) <= LARGEST_KNOWN else _head(body, raw=bool(raws))
    request = head.request
    raws = raws or [memoryview(raw) for raw in request.raw_input_contents]
    expect_model(request.model_name, request.model_version, served)
    signature = served.metadata.signature
    if head.tensors and len(head.tensors) == len(raws):
        tensors = raw_tensors(head.tensors, raws)
    elif request.inputs:
        entries = _entries(request)
        tensors = input_tensors(entries, _values(request.inputs, entries, raws), signature)
    else:
        raise MalformedRequestError("inputs must have a tensor, at least one")
    conformed = served.conform(request_of(tensors, head.parameters, signature))
    write = partial(_write, requested=head.requested)
    return Inputs(data=conformed.data, params=conformed.params, rows=conformed.rows, write=write)


def _head(body: bytes, *, raw: bool) -> Head:
    """Raises MalformedRequestError, InvalidInputError."""
    request = parsed(_Request, body)
    expect_no_extension([_parameters(output.parameters, "") for output in request.outputs])
    bare = not any(tensor.contents.ListFields() for tensor in request.inputs)  # MLServer's clients send empty ones
    return Head(
        request=request,
        parameters=_parameters(request.parameters, "parameters"),
        requested=RequestedOutput(
            id=request.id or None,
            outputs=dict.fromkeys(output.name for output in request.outputs),
            binary=raw or bool(request.raw_input_contents),
        ),
        tensors=tensor_heads(_entries(request)) if bare else None,
    )


_known_head: Final = lru_cache(KNOWN_HEADS)(_head)


def weight_of(body: bytes) -> int:
    """Return how many bytes of JSON take as long to read as this ModelInferRequest."""
    if len(body) < LARGE:
        return len(body)
    head, _ = _split(body)
    return len(body) if BYTES.encode() in head else len(head) + (len(body) - len(head)) // RAW_TO_JSON


def _split(body: bytes) -> tuple[bytes, list[memoryview]]:
    """Return a message without its raw tensors, and these without a copy. Others are returned as they are."""
    view, rest, raws = memoryview(body), [], []
    at = fields = 0
    try:
        while at < len(body):
            start, fields = at, fields + 1
            tag, at = _varint(body, at)
            size, at = _varint(body, at)
            if tag & 7 != RAW_TAG & 7 or at + size > len(body) or fields > MOST_FIELDS:  # every field here has a length
                return body, []
            at += size
            if tag == RAW_TAG:
                raws.append(view[at - size : at])
            else:
                rest.append(view[start:at])
    except IndexError:  # it is cut, which the parser says
        return body, []
    return b"".join(rest), raws


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """Return a number of a message, and the position after it. Raises IndexError."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & SEVEN_BITS) << shift
        if byte < CONTINUES:
            return value, at
        shift += 7
        if shift > 63:  # noqa: PLR2004  bits of the largest number
            raise IndexError


def _entries(request: Any) -> Sequence[Mapping[str, Any]]:
    """Return the tensors as the entries of the JSON protocol, without their values. Raises InvalidInputError."""
    return [
        {
            "name": tensor.name,
            "datatype": tensor.datatype,
            "shape": list(tensor.shape),
            "parameters": _parameters(tensor.parameters, "") if tensor.parameters else None,
        }
        for tensor in request.inputs
    ]


def _parameters(given: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    """Raises InvalidInputError."""
    values = {name: (value, value.WhichOneof("parameter_choice")) for name, value in given.items()}
    if any(choice is None for _, choice in values.values()):
        raise InvalidInputError([Fault(path=path or "parameters", problem="a parameter without a value")])
    return {name: getattr(value, choice) for name, (value, choice) in values.items()}


def _values(
    inputs: Sequence[Any], entries: Sequence[Mapping[str, Any]], raws: Sequence[memoryview]
) -> Sequence[ReadValues | Fault]:
    """Return the function that reads the values of each tensor. Raises MalformedRequestError, InvalidInputError."""
    if not raws:
        return [partial(_in_contents, tensor.contents) for tensor in inputs]
    if len(raws) != len(inputs):
        # A tensor in shared memory has no raw values, and that is not its fault.
        for index, entry in enumerate(entries):
            if faults := extension_faults(entry["parameters"] or {}, f"inputs[{index}]"):
                raise InvalidInputError(faults)
        raise MalformedRequestError(
            f"raw_input_contents has {len(raws)} tensors, and inputs has {len(inputs)}; send all of them raw, or none"
        )
    both = Fault(path=".contents", problem="a tensor must have either contents or raw_input_contents, not both")
    return [
        both if tensor.contents.ListFields() else partial(in_binary, raw)  # an empty one is in MLServer's requests
        for tensor, raw in zip(inputs, raws, strict=True)
    ]


def _in_contents(contents: Any, datatype: str, shape: tuple[int, ...], path: str) -> Any:
    """Return the values of a tensor that is not raw. Raises InvalidInputError."""
    if datatype == FP16:
        problem = "FP16 has no contents: send its bytes in raw_input_contents"
        raise InvalidInputError([Fault(path=f"{path}.datatype", problem=problem)])
    name = CONTENTS[datatype]
    if wrong := [field.name for field, _ in contents.ListFields() if field.name != name]:
        raise InvalidInputError([Fault(path=f"{path}.contents", problem=f"{wrong[0]}, where {datatype} has {name}")])
    values = getattr(contents, name)
    if len(values) != prod(shape):
        problem = f"{len(values)} values, where the shape {list(shape)} has {prod(shape)}"
        raise InvalidInputError([Fault(path=f"{path}.data", problem=problem)])
    if datatype == BYTES or datatype in NARROW:
        return list(values)
    return np.fromiter(values, NUMPY[datatype].newbyteorder("="), len(values))


def _write(prediction: Prediction, served: ServedModel, *, requested: RequestedOutput) -> Answer:
    """Raises OutputError, InvalidInputError."""
    outputs, content_type = wanted_outputs(prediction.value, requested, served)
    heads = tuple((output.name, output.datatype, output.shape, output.content_type) for output in outputs)
    if requested.binary or any(output.datatype == FP16 for output in outputs):  # which has no contents
        raws = [write_values(output.values, output.datatype) for output in outputs]
        rest = _Response(id=requested.id, raw_output_contents=raws)
        body = _known_response(served.name, served.version, content_type, heads) + rest.SerializeToString()
    else:
        response = _response(served.name, served.version, content_type, heads)
        response.id = requested.id or ""
        for tensor, output in zip(response.outputs, outputs, strict=True):
            tensor.contents.CopyFrom(_contents(output))
        body = response.SerializeToString()
    return Answer(body=body, media_type=PROTOBUF)


def _response(name: str, version: str | None, content_type: str, heads: Iterable[OutputHead]) -> Any:
    """Return the response without the values of its outputs."""
    response = _Response(model_name=name, model_version=version)
    response.parameters["content_type"].string_param = content_type
    for output, datatype, shape, own_type in heads:
        tensor = response.outputs.add(name=output, datatype=datatype, shape=shape)
        tensor.parameters["content_type"].string_param = own_type
    return response


@lru_cache(KNOWN_HEADS)
def _known_response(name: str, version: str | None, content_type: str, heads: Iterable[OutputHead]) -> bytes:
    """Return the bytes of the response without values, to which those of the values may be added."""
    body: bytes = _response(name, version, content_type, heads).SerializeToString()
    return body


def _contents(output: Output) -> Any:
    values = encoded(output.values) if output.datatype == BYTES else output.values.tolist()
    return _Contents(**{CONTENTS[output.datatype]: values})
