"""Metadata of a model in this protocol: its inputs and outputs, from the signature."""

from typing import Any

from serving_runtime.protocols.interface import ServedModel
from serving_runtime.protocols.open_inference.datatypes import (
    BYTES,
    NP,
    TEXT,
    content_type_of,
    datatype_of,
    dtype_of,
    wire_names,
)
from serving_runtime.signature import Column, Tensor


def metadata_of(served: ServedModel) -> dict[str, Any]:
    """Return the metadata. A column is a tensor of shape [-1, 1], with the content type of MLServer's codec for it."""
    signature = served.metadata.signature
    inputs: tuple[Column | Tensor, ...] = signature.columns or signature.tensors
    return {
        "name": served.name,
        "versions": [served.version] if served.version else [],
        "platform": "mlflow",
        "inputs": list(map(_tensor, inputs, wire_names(inputs, "input"))),
        "outputs": list(map(_tensor, signature.outputs, wire_names(signature.outputs, "output"))),
    }


def _tensor(spec: Column | Tensor, name: str) -> dict[str, Any]:
    if isinstance(spec, Tensor):
        datatype = datatype_of(spec.dtype)
        shape, content_type = list(spec.shape), TEXT if datatype == BYTES else NP
    else:
        dtype = dtype_of(spec.type)
        datatype, shape, content_type = (
            BYTES if dtype is None else datatype_of(dtype),
            [-1, 1],
            content_type_of(spec.type),
        )
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": {"content_type": content_type}}
