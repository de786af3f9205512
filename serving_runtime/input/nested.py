"""Values inside a cell: arrays, objects and maps, each in the type that MLflow's own check expects of it."""

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np

from serving_runtime.errors import Fault
from serving_runtime.input.cells import CellError, convert, convert_base64, sent
from serving_runtime.signature import Anything, Array, Map, Object, Property, Scalar, Type

DTYPES: Final = {
    "boolean": np.dtype("bool"),
    "integer": np.dtype("int32"),
    "long": np.dtype("int64"),
    "float": np.dtype("float32"),
    "double": np.dtype("float64"),
    "string": np.dtype("str"),
    "datetime": np.dtype("datetime64[ns]"),
}


class NestedError(ValueError):
    """A value at a place below a cell does not do."""

    def __init__(self, path: str, problem: str) -> None:
        self.fault = Fault(path=path, problem=problem)
        super().__init__(str(self.fault))


def scalars(values: Sequence[Any], kind: Scalar) -> Any:
    """A numpy array of the values. Raises CellError."""
    return convert_base64(values) if kind.name == "binary" else convert(values, DTYPES[kind.name])


def nested(value: Any, kind: Type, path: str, *, required: bool = True) -> Any:
    """`value` as `kind`; `path` is its place in the request. Raises NestedError."""
    if value is None and not required:
        return None
    match kind:
        case Scalar():
            return _list([value], kind, lambda _: path)[0]
        case Array(items=Scalar() as items):
            return _list(_expect(value, list, path), items, lambda index: f"{path}[{index}]")
        case Array(items=items):
            return [nested(item, items, f"{path}[{index}]", required=required) for index, item in enumerate(_expect(value, list, path))]
        case Map(values=values):
            return {key: nested(item, values, member(path, key), required=required) for key, item in _expect(value, dict, path).items()}
        case Object():
            return _object(_expect(value, dict, path), kind, path)
        case Anything():
            return value


def member(path: str, key: object) -> str:
    """The path of a member of an object: `path.key`, or `path["a key"]` where the key is no plain word."""
    text = str(key)
    return f"{path}.{text}" if text.isidentifier() else f'{path}["{text}"]'


def _object(value: dict[str, Any], kind: Object, path: str) -> dict[str, Any]:
    if unknown := next((key for key in value if key not in kind.properties), None):
        raise NestedError(member(path, unknown), "the model's signature has no such property")
    present = {name: described for name, described in kind.properties.items() if _present(name, described, value, path)}
    return {
        name: nested(value[name], described.type, member(path, name), required=described.required) for name, described in present.items()
    }


def _present(name: str, described: Property, value: dict[str, Any], path: str) -> bool:
    if name not in value and described.required:
        raise NestedError(member(path, name), "missing, and the model requires it")
    return name in value


def _list(values: list[Any], kind: Scalar, place: Callable[[int], str]) -> list[Any]:
    """Numpy's own scalars: in a plain Python number MLflow's check sees 64 bits, and refuses them where the model takes 32."""
    try:
        converted = scalars(values, kind)
    except CellError as error:
        raise NestedError(place(error.index), str(error)) from error
    if kind.name in {"integer", "float"}:
        return list(converted)
    if kind.name == "datetime":
        return [None if np.isnat(moment) else moment for moment in converted]
    native: list[Any] = converted.tolist()
    return native


def _expect(value: Any, kind: type, path: str) -> Any:
    if type(value) is not kind:
        raise NestedError(path, f"{sent(value)}, where the model takes {'an array' if kind is list else 'an object'}")
    return value
