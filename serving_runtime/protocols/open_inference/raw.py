"""Tensors as bytes after the JSON of a body: little-endian, in C order.

An element of BYTES has its length before it, in four bytes.
"""

from collections.abc import Iterable
from typing import Any, Final

import numpy as np

from serving_runtime.errors import MalformedRequestError
from serving_runtime.input.cells import Values
from serving_runtime.protocols.open_inference.datatypes import BYTES, NUMPY

PREFIX: Final = 4  # bytes of the length before each element of BYTES


class RawError(ValueError):
    """The bytes of a tensor are not what its datatype says."""


def split_tensors(body: bytes, length: str | None) -> tuple[bytes, memoryview | None]:
    """Return the JSON of a body and the bytes after it, or None without the header. Raises MalformedRequestError.

    `length` is the value of the header Inference-Header-Content-Length.
    """
    if length is None:
        return body, None
    if not (length.isascii() and length.isdecimal()) or len(length) > 12:  # noqa: PLR2004  digits: more than any body has bytes
        raise MalformedRequestError(
            "Inference-Header-Content-Length must be the number of bytes of the JSON in the body"
        )
    end = int(length)
    if end > len(body):
        raise MalformedRequestError(
            f"Inference-Header-Content-Length is {end}, and the body has only {len(body)} bytes"
        )
    return body[:end], memoryview(body)[end:]


def read_numbers(raw: memoryview, datatype: str, count: int) -> Values:
    """Return a copy of the numbers, because a model may write into its input. Raises RawError."""
    dtype = NUMPY[datatype]
    if len(raw) != count * dtype.itemsize:
        raise RawError(f"{len(raw)} bytes, but {count} values of {datatype} have {count * dtype.itemsize}")
    if datatype == "BOOL" and (np.frombuffer(raw, dtype="u1") > 1).any():
        raise RawError("a byte other than 0 and 1, which BOOL does not have")
    return np.frombuffer(raw, dtype=dtype).astype(dtype.newbyteorder("="))


def read_elements(raw: memoryview, count: int) -> list[bytes]:
    """Raises RawError."""
    elements: list[bytes] = []
    at = 0
    while at < len(raw) and len(elements) < count:
        length = int.from_bytes(raw[at : at + PREFIX], "little")
        at += PREFIX
        if at + length > len(raw):
            raise RawError(f"element {len(elements)} has a length beyond the end of the tensor's bytes")
        elements.append(bytes(raw[at : at + length]))
        at += length
    if at != len(raw):
        raise RawError(f"{len(raw) - at} bytes are left after the {count} elements of the shape")
    if len(elements) != count:
        raise RawError(f"the bytes of {len(elements)} elements, but the shape has {count}")
    return elements


def write_values(values: Any, datatype: str) -> bytes:
    """Return an array of numbers, or a list of texts or bytes, as the bytes of a tensor."""
    if datatype == BYTES:
        return b"".join(len(value).to_bytes(PREFIX, "little") + value for value in encoded(values))
    return np.ascontiguousarray(values, dtype=NUMPY[datatype]).tobytes()


def encoded(values: Iterable[str | bytes]) -> list[bytes]:
    """Return each element of BYTES as bytes."""
    return [value.encode() if isinstance(value, str) else value for value in values]
