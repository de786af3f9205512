"""Types of a signature as JSON Schema (2020-12, as OpenAPI 3.1 has it)."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from serving_runtime.signature import Anything, Array, Column, Map, Object, Param, Scalar, Tensor, Type

Schema = dict[str, Any]

SCALARS: Final[Mapping[str, Schema]] = {
    "boolean": {"type": "boolean"},
    "integer": {"type": "integer", "format": "int32", "minimum": -(2**31), "maximum": 2**31 - 1},
    "long": {"type": "integer", "format": "int64", "minimum": -(2**63), "maximum": 2**63 - 1},
    "float": {"type": ["number", "null"], "format": "float"},
    "double": {"type": ["number", "null"], "format": "double"},
    "string": {"type": ["string", "null"]},
    "binary": {"type": ["string", "null"], "contentEncoding": "base64"},
    "datetime": {
        "type": ["string", "null"],
        "format": "date-time",
        "description": "ISO 8601; an offset is turned into UTC",
    },
}
KINDS: Final[Mapping[str, Schema]] = {
    "b": SCALARS["boolean"],
    "f": {"type": ["number", "null"]},
    "U": {"type": "string"},
}


def of_type(kind: Type) -> Schema:
    """Return the schema of one value."""
    match kind:
        case Scalar(name=name):
            return dict(SCALARS[name])
        case Array(items=items):
            return {"type": "array", "items": of_type(items)}
        case Map(values=values):
            return {"type": "object", "additionalProperties": of_type(values)}
        case Object(properties=properties):
            return {
                "type": "object",
                "properties": {
                    name: of_type(described.type) if described.required else optional(of_type(described.type))
                    for name, described in properties.items()
                },
                "required": [name for name, described in properties.items() if described.required],
                "additionalProperties": False,
            }
        case Anything():
            return {}


def of_column(column: Column) -> Schema:
    """Return the schema of one cell of a column."""
    return of_type(column.type) if column.required else optional(of_type(column.type))


def of_tensor(tensor: Tensor) -> Schema:
    """Return the schema of nested arrays, with a level for each number of the shape."""
    schema = _element(tensor.dtype)
    for length in reversed(tensor.shape):
        schema = {"type": "array", "items": schema} | ({"minItems": length, "maxItems": length} if length >= 0 else {})
    return schema | {"description": f"{tensor.dtype.name}, shape {list(tensor.shape)} (-1 is any length)"}


def of_params(params: Sequence[Param]) -> Schema:
    """Return the schema of an object with the parameters by name."""
    return {"type": "object", "properties": {param.name: of_param(param) for param in params}}


def of_param(param: Param) -> Schema:
    """Return the schema of one parameter: a value or a list, or null for its default."""
    schema = of_type(param.type)
    return optional({"type": "array", "items": schema} if param.is_list else schema)


def row(columns: Sequence[Column]) -> Schema:
    """Return the schema of an object with the columns by name."""
    return {
        "type": "object",
        "properties": {str(column.name): of_column(column) for column in columns},
        "required": [str(column.name) for column in columns if column.required],
    }


def cells(columns: Sequence[Column]) -> Schema:
    """Return the schema of an array with the columns by position."""
    return {
        "type": "array",
        "prefixItems": [of_column(column) for column in columns],
        "items": False,
        "minItems": len(columns),
    }


def optional(schema: Schema) -> Schema:
    """Return the schema with null as one more value."""
    kinds = schema.get("type")
    if kinds is None:
        return schema if not schema else {"anyOf": [schema, {"type": "null"}]}
    return schema | {"type": [*([kinds] if isinstance(kinds, str) else kinds), *([] if "null" in kinds else ["null"])]}


def _element(dtype: np.dtype[Any]) -> Schema:
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return {"type": "integer", "minimum": int(limits.min), "maximum": int(limits.max)}
    return dict(KINDS.get(dtype.kind, {}))
