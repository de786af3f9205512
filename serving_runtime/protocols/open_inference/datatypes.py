"""The datatypes of the protocol, and those of a model's signature."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from serving_runtime.input.nested import DTYPES as OF_SCALARS
from serving_runtime.signature import Column, Scalar, Signature, Tensor, Type

BYTES: Final = "BYTES"
FP16: Final = "FP16"
# In a request they are little-endian on every machine.
NUMPY: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("bool"),
    "UINT8": np.dtype("<u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("<i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    FP16: np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
}
DATATYPES: Final = (*NUMPY, BYTES)
OF_NUMPY: Final = {dtype: datatype for datatype, dtype in NUMPY.items()}

# The names that MLServer's codecs have for what a tensor holds.
NP, TEXT, BASE64, TIME, JSON, FRAME, NAMED = "np", "str", "base64", "datetime", "pd_json", "pd", "dict"


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the datatype of numpy's type; BYTES if it holds neither numbers nor booleans."""
    return OF_NUMPY.get(dtype, BYTES)


def content_type_of(kind: Type) -> str:
    if not isinstance(kind, Scalar):
        return JSON
    return {"string": TEXT, "binary": BASE64, "datetime": TIME}.get(kind.name, NP)


def dtype_of(kind: Type) -> np.dtype[Any] | None:
    """Return the type of numpy; None for bytes, and if the values are no scalars."""
    return OF_SCALARS.get(kind.name) if isinstance(kind, Scalar) else None


def wire_names(specs: Sequence[Column | Tensor], prefix: str) -> list[str]:
    """Return a unique name for each input or output: its own or, if that is empty or taken, its position."""
    names: list[str] = []
    for index, spec in enumerate(specs):
        own = "" if spec.name is None else str(spec.name)
        names.append(own if own and own not in names else f"{prefix}-{index}")
    return names


def model_dtypes(signature: Signature) -> Callable[[str, int], np.dtype[Any] | None]:
    """Return a function from an input's name and position to the model's type of numpy; None if it has none.

    The name decides if the signature has names, otherwise the position.
    """
    inputs: tuple[Column | Tensor, ...] = signature.columns or signature.tensors
    if not signature.named:
        return lambda _, position: _dtype(inputs[position]) if position < len(inputs) else None
    by_name: dict[str, np.dtype[Any] | None] = {}

    def dtype(name: str, _: int) -> np.dtype[Any] | None:
        if not by_name:  # most requests never ask
            by_name.update(zip(wire_names(inputs, "input"), map(_dtype, inputs), strict=True))
        return by_name.get(name)

    return dtype


def _dtype(spec: Column | Tensor) -> np.dtype[Any] | None:
    return spec.dtype if isinstance(spec, Tensor) else dtype_of(spec.type)
