"""Requests of the Open Inference Protocol over gRPC, made from the JSON that means the same over HTTP."""

import struct
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from serving_runtime.protocols.open_inference.datatypes import BYTES, NUMPY
from serving_runtime.protocols.open_inference.messages import CONTENTS, INFERENCE

Request: Final = INFERENCE.message("ModelInferRequest")
Response: Final = INFERENCE.message("ModelInferResponse")


def message_of(document: dict[str, Any], *, raw: bool, model: str = "m", version: str = "") -> Any:
    """Return the message, with raw tensors or typed contents.

    Raises ValueError or TypeError for what a message cannot hold, such as null, or a text among numbers.
    """
    message = Request(model_name=model, model_version=version, id=document.get("id", ""))
    for name, value in document.get("parameters", {}).items():
        _set(message.parameters[name], value)
    for output in document.get("outputs", ()):
        wanted = message.outputs.add(name=output["name"])
        for name, value in output.get("parameters", {}).items():
            _set(wanted.parameters[name], value)
    for entry in document["inputs"]:
        tensor = message.inputs.add(name=entry["name"], datatype=entry["datatype"], shape=entry["shape"])
        for name, value in entry.get("parameters", {}).items():
            _set(tensor.parameters[name], value)
        values = list(flat(entry["data"]))
        if raw:
            message.raw_input_contents.append(raw_of(entry["datatype"], values))
        else:
            field = CONTENTS[entry["datatype"]]
            getattr(tensor.contents, field).extend(map(encoded, values) if field == "bytes_contents" else values)
    return message


def raw_of(datatype: str, values: list[Any]) -> bytes:
    if datatype == BYTES:
        return b"".join(struct.pack("<I", len(value)) + value for value in map(encoded, values))
    array = np.array(values)
    if array.dtype.kind not in "biuf" or not (array == array.astype(NUMPY[datatype])).all():
        raise ValueError(f"{datatype} cannot hold these values")
    return array.astype(NUMPY[datatype]).tobytes()


def flat(data: Any) -> Iterator[Any]:
    for item in data:
        if isinstance(item, list):
            yield from flat(item)
        else:
            yield item


def encoded(value: Any) -> bytes:
    if not isinstance(value, str | bytes):
        raise TypeError("an element of BYTES is a text or bytes")
    return value.encode() if isinstance(value, str) else value


def _set(parameter: Any, value: Any) -> None:
    fields = {bool: "bool_param", int: "int64_param", str: "string_param", float: "double_param"}
    if type(value) not in fields:
        raise TypeError("a parameter is a scalar")
    setattr(parameter, fields[type(value)], value)
