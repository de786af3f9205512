"""The answer to a request: its outputs in the JSON, or as bytes after it if the client asks for that."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from serving_runtime.codec.encode import encode
from serving_runtime.errors import Fault, InvalidInputError
from serving_runtime.input.cells import json_type_name
from serving_runtime.protocols.interface import Answer, ServedModel
from serving_runtime.protocols.open_inference.datatypes import BASE64, BYTES, FP16, NUMPY
from serving_runtime.protocols.open_inference.input_tensors import SIZE, extension_faults, parameters
from serving_runtime.protocols.open_inference.outputs import Output, outputs_of
from serving_runtime.protocols.open_inference.raw import write_values


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedOutput:
    """The outputs that the client wants; an empty `outputs` means all of them.

    `outputs` has for each name True if its data should be bytes after the JSON, False if not, and None if the request
    does not say; then `binary` decides.
    """

    id: str | None
    outputs: Mapping[str, bool | None]
    binary: bool


def read_requested_output(document: Mapping[str, Any]) -> RequestedOutput:
    """Raises InvalidInputError."""
    given, outputs = document.get("id"), document.get("outputs") or []
    if not isinstance(given, str | None):
        raise InvalidInputError([Fault.mismatch("id", got=json_type_name(given), expected="a string")])
    if not isinstance(outputs, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("name"), str) for entry in outputs
    ):
        raise InvalidInputError([Fault(path="outputs", problem="it must be an array of objects with a name")])
    given_of = [parameters(entry, f"outputs[{index}]") for index, entry in enumerate(outputs)]
    expect_no_extension(given_of)
    wanted = {entry["name"]: of.get("binary_data") for entry, of in zip(outputs, given_of, strict=True)}
    return RequestedOutput(
        id=given,
        outputs={name: binary if isinstance(binary, bool) else None for name, binary in wanted.items()},
        binary=parameters(document, "").get("binary_data_output") is True,
    )


def expect_no_extension(outputs: Sequence[Mapping[str, Any]]) -> None:
    """Raise InvalidInputError if the parameters of an output ask for what only Triton does."""
    if faults := [
        fault for index, given in enumerate(outputs) for fault in extension_faults(given, f"outputs[{index}]")
    ]:
        raise InvalidInputError(faults)


def write_tensors(prediction: Any, requested: RequestedOutput, served: ServedModel) -> Answer:
    """Return the answer. Raises OutputError, or InvalidInputError if the client wants an output that is not there."""
    outputs, content_type = wanted_outputs(prediction, requested, served)
    entries, tails = [], []
    for output in outputs:
        binary = requested.outputs.get(output.name)
        entry, tail = _entry(output, binary=requested.binary if binary is None else binary)
        entries.append(entry)
        tails.append(tail)
    document = {
        "model_name": served.name,
        **({"model_version": served.version} if served.version else {}),
        **({"id": requested.id} if requested.id is not None else {}),
        "parameters": {"content_type": content_type},
        "outputs": entries,
    }
    body = encode(document, wrapped=False, nan=served.nan)
    if all(tail is None for tail in tails):
        return Answer(body=body)
    header = (b"inference-header-content-length", b"%d" % len(body))
    return Answer(
        body=b"".join([body, *(tail or b"" for tail in tails)]),
        media_type=b"application/octet-stream",
        headers=(header,),
    )


def wanted_outputs(prediction: Any, requested: RequestedOutput, served: ServedModel) -> tuple[Sequence[Output], str]:
    """Return the outputs that the client wants, and the content type of all outputs together.

    Raises OutputError, or InvalidInputError if the client wants an output that is not there.
    """
    outputs, content_type = outputs_of(prediction, served.metadata.signature, served.nan)
    if not requested.outputs:
        return outputs, content_type
    by_name = {output.name: output for output in outputs}
    unknown = [(index, name) for index, name in enumerate(requested.outputs) if name not in by_name]
    if unknown:
        there = ", ".join(by_name)
        raise InvalidInputError(
            [
                Fault(path=f"outputs[{index}].name", problem=f"the model has no such output; it has {there}")
                for index, _ in unknown
            ]
        )
    return [by_name[name] for name in requested.outputs], content_type


def _entry(output: Output, *, binary: bool) -> tuple[dict[str, Any], bytes | None]:
    """Return the output's entry in the JSON, and its bytes after the JSON, or None."""
    entry = {
        "name": output.name,
        "shape": output.shape,
        "datatype": output.datatype,
        "parameters": {"content_type": output.content_type},
    }
    if binary:
        tail = write_values(output.values, output.datatype)
        return entry | {"parameters": {"content_type": output.content_type, SIZE: len(tail)}}, tail
    if output.datatype == FP16:  # JSON has no such numbers in this protocol
        return entry | {"datatype": "FP32", "data": output.values.astype(NUMPY["FP32"]).tolist()}, None
    if output.content_type == BASE64:
        return entry | {"data": [base64.b64encode(value).decode() for value in output.values]}, None
    return entry | {"data": output.values if output.datatype == BYTES else output.values.tolist()}, None
