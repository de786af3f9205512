"""A model's signature: the columns or tensors, and the parameters, that it says it takes.

Read from the JSON in its `MLmodel` file, so that nothing of MLflow is imported for it
(https://mlflow.org/docs/latest/ml/model/signatures/).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

SCALARS: Final = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
HINTED: Final = "is_signature_from_type_hint"


class InvalidSignatureError(ValueError):
    """The signature in the MLmodel file is not one that this version can read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scalar:
    """A single value; `name` is one of SCALARS."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Array:
    """A list of any length."""

    items: "Type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Property:
    """A member of an object."""

    type: "Type"
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Object:
    """An object with the properties of the signature and no others."""

    properties: Mapping[str, Property]


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """An object with any names as keys."""

    values: "Type"


@dataclass(frozen=True, slots=True, kw_only=True)
class Anything:
    """A value that the signature says nothing about."""


Type = Scalar | Array | Object | Map | Anything

WHOLE_NUMBERS: Final = (Scalar(name="integer"), Scalar(name="long"))
FLOATS: Final = (Scalar(name="float"), Scalar(name="double"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """`name` is the signature's key, which may be no text. It is None for every column of a signature, or for none."""

    name: Any
    type: Type
    required: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """In `shape`, -1 is any length. `name` is None for a signature of one tensor."""

    name: str | None
    dtype: np.dtype[Any]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Param:
    """A parameter of the inference, with a default in the model: one value, or a list of them."""

    name: str
    type: Type
    is_list: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """`columns` or `tensors` are empty; both are if the model says nothing about its input.

    `typed_in_code`: the input's type is a hint in the model's own code, which checks it itself. `outputs` describe the
    prediction; the model is not held to them.
    """

    columns: tuple[Column, ...] = ()
    tensors: tuple[Tensor, ...] = ()
    params: tuple[Param, ...] | None = None
    typed_in_code: bool = False
    outputs: tuple[Column | Tensor, ...] = ()

    @property
    def says_nothing(self) -> bool:
        """True if the model takes what comes."""
        return not self.columns and not self.tensors and not self.typed_in_code

    @property
    def named(self) -> bool:
        return any(column.name is not None for column in self.columns) or any(
            tensor.name is not None for tensor in self.tensors
        )

    @property
    def repeats_a_name(self) -> bool:
        """True if two columns have the same name: the values of a row cannot be told apart by their names."""
        return len({column.name for column in self.columns}) < len(self.columns)

    @property
    def names(self) -> frozenset[str]:
        """The names of the columns or tensors as texts."""
        return frozenset(
            [*(str(column.name) for column in self.columns), *(str(tensor.name) for tensor in self.tensors)]
        )


def read_signature(document: Mapping[str, Any] | None) -> Signature:
    """Read the `signature` of an MLmodel document, whose parts are JSON texts. Raises InvalidSignatureError."""
    document = document or {}
    try:
        inputs = json.loads(document.get("inputs") or "[]")
        params = json.loads(document["params"]) if document.get("params") else None
        tensors = [entry for entry in inputs if entry["type"] == "tensor"]
        return Signature(
            columns=tuple(_column(entry) for entry in inputs if entry["type"] != "tensor"),
            tensors=tuple(_tensor(entry) for entry in tensors),
            params=None if params is None else tuple(_param(entry) for entry in params),
            typed_in_code=bool(document.get(HINTED)),
            outputs=_outputs(document.get("outputs")),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidSignatureError(
            f"the signature in the MLmodel file cannot be read ({type(error).__name__}: {error})"
        ) from error


def _outputs(text: str | None) -> tuple[Column | Tensor, ...]:
    """Return the outputs; none if they cannot be read: no prediction depends on them."""
    try:
        return tuple(
            _tensor(entry) if entry["type"] == "tensor" else _column(entry) for entry in json.loads(text or "[]")
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return ()


def _column(entry: Mapping[str, Any]) -> Column:
    return Column(name=_key(entry.get("name")), type=_type(entry), required=_required(entry))


def _key(name: Any) -> Any:
    """Return a list as a tuple, which JSON does not have: the name of a column of several levels."""
    return tuple(map(_key, name)) if isinstance(name, list) else name


def _tensor(entry: Mapping[str, Any]) -> Tensor:
    spec = entry["tensor-spec"]
    return Tensor(
        name=entry.get("name"), dtype=np.dtype(spec["dtype"]), shape=tuple(int(length) for length in spec["shape"])
    )


def _param(entry: Mapping[str, Any]) -> Param:
    # MLflow 2 called the type of a parameter `type` as well, but of an object `dtype`.
    described = entry if "type" in entry else {"type": entry["dtype"]}
    return Param(name=entry["name"], type=_type(described), is_list=entry.get("shape") is not None)


def _required(entry: Mapping[str, Any]) -> bool:
    # `optional` is how MLflow before 2.10 wrote it.
    return bool(entry.get("required", not entry.get("optional", False)))


def _type(entry: Mapping[str, Any]) -> Type:
    match entry["type"]:
        case str(name) if name in SCALARS:
            return Scalar(name=name)
        case "array":
            return Array(items=_type(entry["items"]))
        case "sparkml_vector":
            return Array(items=Scalar(name="double"))
        case "object":
            properties = {
                name: Property(type=_type(described), required=_required(described))
                for name, described in entry["properties"].items()
            }
            return Object(properties=properties)
        case "map":
            return Map(values=_type(entry["values"]))
        case "any":
            return Anything()
        case unknown:
            raise ValueError(f"there is no type {unknown}")
