"""The columns of a model's predictions, which an engine must know before the first row is scored."""

from collections.abc import Sequence
from typing import Final

import pyarrow as pa

from serving_runtime.errors import OutputError
from serving_runtime.signature import Array, Column, Object, Scalar, Signature, Tensor, Type
from serving_runtime.tables.predictions import PREDICTION

# As `predict` writes them into Parquet.
TYPES: Final = {
    "boolean": pa.bool_(),
    "integer": pa.int64(),
    "long": pa.int64(),
    "float": pa.float64(),
    "double": pa.float64(),
    "string": pa.string(),
    "datetime": pa.string(),
    "binary": pa.string(),
}
KINDS: Final = {"b": pa.bool_(), "i": pa.int64(), "u": pa.int64(), "f": pa.float64()}
GIVE: Final = 'give it, as one type such as "double", or with names such as "label string, score double"'


def result_columns(signature: Signature, result_type: str | None) -> pa.Schema:
    """Return the columns of the predictions: `result_type` > the outputs of the signature. Raises OutputError."""
    if result_type is not None:
        return pa.schema([_field(part, result_type) for part in result_type.split(",")])
    fields = _of_outputs(signature.outputs)
    if not fields:
        raise OutputError(f"the model's signature does not say what it predicts, so the result type is missing: {GIVE}")
    return pa.schema(fields)


def _field(part: str, whole: str) -> pa.Field:
    """Read `type`, or `name type`."""
    name, _, kind = part.strip().rpartition(" ")
    if kind not in TYPES or (not name and "," in whole):
        raise OutputError(f"the result type {whole!r} cannot be read; {GIVE}, of the types {', '.join(TYPES)}")
    return pa.field(name.strip() or PREDICTION, TYPES[kind])


def _of_outputs(outputs: Sequence[Column | Tensor]) -> list[pa.Field]:
    """Return a field for each column; none if one of them is of no fixed type."""
    match outputs:
        case [Tensor(name=None, shape=(_, int(width)), dtype=dtype)] if width > 0 and dtype.kind in KINDS:
            return [pa.field(f"{PREDICTION}_{place}", KINDS[dtype.kind]) for place in range(width)]
        case _:
            fields = [_of_output(output, place if len(outputs) > 1 else None) for place, output in enumerate(outputs)]
            known = [field for field in fields if field is not None]
            return known if len(known) == len(fields) else []


def _of_output(output: Column | Tensor, place: int | None) -> pa.Field | None:
    name = str(output.name) if output.name is not None else PREDICTION if place is None else f"{PREDICTION}_{place}"
    match output:
        case Column(type=kind):
            found = _arrow_type(kind)
        case Tensor(dtype=dtype, shape=(_,)):
            found = KINDS.get(dtype.kind, pa.string() if dtype.kind in "OUS" else None)
        case _:
            found = None
    return None if found is None else pa.field(name, found)


def _arrow_type(kind: Type) -> pa.DataType | None:
    match kind:
        case Scalar(name=name):
            return TYPES[name]
        case Array(items=items):
            inner = _arrow_type(items)
            return None if inner is None else pa.list_(inner)
        case Object(properties=properties):
            fields = {name: _arrow_type(each.type) for name, each in properties.items()}
            return None if any(found is None for found in fields.values()) else pa.struct(fields)
        case _:
            return None
