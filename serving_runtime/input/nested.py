"""Conversion of arrays, objects and maps inside a cell into the types that MLflow's own check expects."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from serving_runtime.errors import MOST_FAULTS, Fault
from serving_runtime.input.cells import CellError, convert, convert_base64, every_error, is_nan, json_type_name
from serving_runtime.signature import FLOATS, Anything, Array, Map, Object, Scalar, Type

DTYPES: Final = {
    "boolean": np.dtype("bool"),
    "integer": np.dtype("int32"),
    "long": np.dtype("int64"),
    "float": np.dtype("float32"),
    "double": np.dtype("float64"),
    "string": np.dtype("str"),
    "datetime": np.dtype("datetime64[ns]"),
}


def scalars(values: Sequence[Any], kind: Scalar) -> Any:
    """Return the values as a numpy array. Raises CellError."""
    return convert_base64(values) if kind.name == "binary" else convert(values, DTYPES[kind.name])


def nested(value: Any, kind: Type, path: str, faults: list[Fault], *, required: bool = True) -> Any:
    """Return `value` in the type `kind`; `path` is its place in the request.

    A value that does not fit is added to `faults`. Numbers that come in an array may be infinite, as in a column.
    """
    if is_nan(value) and not (kind in FLOATS or isinstance(kind, Anything)):
        value = None
    if value is None and not required:
        return None
    match kind:
        case Scalar():
            values: Any = value.reshape(1) if isinstance(value, np.ndarray) else [value]
            return _list(values, kind, lambda _: path, faults)[0]
        case Array(items=Scalar(name="datetime") as items):
            return _times(_expect(value, list, path, faults), items, lambda index: f"{path}[{index}]", faults)
        case Array(items=Scalar() as items):
            return _list(_expect(value, list, path, faults), items, lambda index: f"{path}[{index}]", faults)
        case Array(items=items):
            entries = enumerate(_expect(value, list, path, faults))
            return [nested(item, items, f"{path}[{index}]", faults, required=required) for index, item in entries]
        case Map(values=values):
            members = _expect(value, dict, path, faults).items()
            return {key: nested(item, values, member(path, key), faults, required=required) for key, item in members}
        case Object():
            return _object(value, kind, path, faults)
        case Anything():
            return value


def member(path: str, key: object) -> str:
    """Return the path of a member of an object: `path.key`, or `path["a key"]` if the key is no identifier."""
    text = str(key)
    return f"{path}.{text}" if text.isidentifier() else f'{path}["{text}"]'


def _object(value: Any, kind: Object, path: str, faults: list[Fault]) -> dict[str, Any]:
    if not isinstance(value, dict):
        return dict(_expect(value, dict, path, faults))
    for name, described in kind.properties.items():
        if name not in value and described.required:
            faults.append(Fault(path=member(path, name), problem="missing, and the model requires it"))
    for unknown in value.keys() - kind.properties.keys():
        faults.append(Fault(path=member(path, unknown), problem="the model's signature has no such property"))
    known = ((name, item, kind.properties[name]) for name, item in value.items() if name in kind.properties)
    return {
        name: nested(item, described.type, member(path, name), faults, required=described.required)
        for name, item, described in known  # in the order in which they came, which a model may write into a prompt
    }


def _list(values: list[Any], kind: Scalar, place: Callable[[int], str], faults: list[Fault]) -> list[Any]:
    """Return the values, those of 32 bits as numpy's scalars: MLflow's check reads a Python number as 64 bits."""
    converted = scalars_or_faults(values, kind, place, faults)
    if converted is None:
        return values
    if kind.name in {"integer", "float"}:
        return list(converted)
    if kind.name == "datetime":
        return [None if np.isnat(moment) else moment for moment in converted]
    native: list[Any] = converted.tolist()
    return native


def _times(values: list[Any], kind: Scalar, place: Callable[[int], str], faults: list[Fault]) -> Any:
    """Return the times as an array: MLflow's check turns a list of times into whole numbers of nanoseconds."""
    converted = scalars_or_faults(values, kind, place, faults)
    return values if converted is None else converted


def scalars_or_faults(values: Sequence[Any], kind: Scalar, place: Callable[[int], str], faults: list[Fault]) -> Any:
    """Return the values as a numpy array; None if some do not fit, which are added to `faults` up to MOST_FAULTS."""
    try:
        return scalars(values, kind)
    except CellError:
        errors = every_error(values, lambda part: scalars(part, kind), MOST_FAULTS - len(faults))
        faults += [error.fault(place(error.index)) for error in errors]
        return None


def _expect(value: Any, kind: type, path: str, faults: list[Fault]) -> Any:
    if type(value) is kind or (kind is list and isinstance(value, np.ndarray)):
        return value
    faults.append(Fault.mismatch(path, got=json_type_name(value), expected="an array" if kind is list else "an object"))
    return kind()
