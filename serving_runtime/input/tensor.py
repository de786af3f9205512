"""Nested lists become arrays of the shape and type that the signature says."""

from collections.abc import Mapping
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from serving_runtime.errors import Fault, InvalidInputError
from serving_runtime.input.cells import CellError, Values, convert
from serving_runtime.input.forms import Given
from serving_runtime.input.nested import member
from serving_runtime.input.table import Table
from serving_runtime.signature import Signature, Tensor

Tensors = Values | dict[str, Values]


def given_tensors(given: Given, signature: Signature) -> Tensors:
    """A tensor, or one for each name: an object of tensors, a list of objects (one for each row), or the only tensor itself."""
    if not signature.named:
        return to_tensor(given.value, signature.tensors[0], given.path)
    if isinstance(given.value, list) and given.value and all(isinstance(item, dict) for item in given.value):
        by_name = {name: [item.get(name) for item in given.value] for item in given.value[:1] for name in item}
    elif isinstance(given.value, dict):
        by_name = given.value
    elif len(signature.tensors) == 1:
        by_name = {str(signature.tensors[0].name): given.value}
    else:
        raise InvalidInputError([Fault(path=given.path, problem="the model takes several tensors, by name: send an object of them")])
    return _named(by_name, signature, given.path)


def table_tensors(table: Table, signature: Signature) -> Tensors:
    """A table's columns as the tensors of their names, or all of it as the one tensor."""
    if signature.named:
        names = {str(key): list(cells) for key, cells in table.columns.items()}
        return {str(spec.name): _rows(_member(names, spec, table.path), spec, member(table.path, spec.name)) for spec in signature.tensors}
    spec = signature.tensors[0]
    if len(table.columns) == 1:
        return _rows(list(next(iter(table.columns.values()))), spec, table.path)
    return to_tensor([list(row) for row in zip(*table.columns.values(), strict=True)], spec, table.path)


def to_tensor(value: Any, spec: Tensor, path: str) -> Values:
    """`value` (nested lists, or one value) in C order. Raises InvalidInputError."""
    shape, flat = _flatten(value, path)
    if spec.dtype.kind != "O":  # a signature of objects says nothing about shapes either
        _expect_shape(shape, spec, path)
    return _filled(flat, shape, spec, path)


def plain_array(value: Any, path: str) -> Values:
    """The type that numpy finds in the values, unless it would change some of them to get there."""
    shape, flat = _flatten(value, path)
    kinds = set(map(type, flat))
    if any(kinds <= alike for alike in ({bool}, {int, float}, {str})):
        return np.array(value)
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _named(by_name: Mapping[str, Any], signature: Signature, path: str) -> dict[str, Values]:
    return {str(spec.name): to_tensor(_member(by_name, spec, path), spec, member(path, spec.name)) for spec in signature.tensors}


def _member(by_name: Mapping[str, Any], spec: Tensor, path: str) -> Any:
    if str(spec.name) not in by_name:
        raise InvalidInputError([Fault(path=path, problem=f'the tensor "{spec.name}" is missing, and the model requires it')])
    return by_name[str(spec.name)]


def _rows(cells: list[Any], spec: Tensor, path: str) -> Values:
    """One cell for each row: a value, or a list whose values are the row's in C order."""
    shape, flat = _flatten(cells, path)
    wanted = (len(cells), *spec.shape[1:])
    fits = spec.shape[:1] == (-1,) and -1 not in spec.shape[1:] and len(shape) <= 2 and prod(wanted) == len(flat)  # noqa: PLR2004  a flat list
    if not fits:
        _expect_shape(shape, spec, path)
    return _filled(flat, wanted if fits else shape, spec, path)


def _filled(flat: list[Any], shape: tuple[int, ...], spec: Tensor, path: str) -> Values:
    try:
        converted = convert(flat, spec.dtype)
    except CellError as error:
        raise InvalidInputError([Fault(path=_place(path, shape, error.index), problem=str(error))]) from error
    if spec.dtype.kind == "U":  # texts come as objects, which may be null
        if None in flat:
            raise InvalidInputError([Fault(path=_place(path, shape, flat.index(None)), problem="null, where the model takes a string")])
        converted = converted.astype(str)
    return converted.reshape(shape)


def _expect_shape(shape: tuple[int, ...], spec: Tensor, path: str) -> None:
    if len(shape) != len(spec.shape) or any(wanted not in (-1, length) for wanted, length in zip(spec.shape, shape, strict=True)):
        problem = f"an array of shape {list(shape)}, where the model takes {list(spec.shape)} (-1 is any length)"
        raise InvalidInputError([Fault(path=path, problem=problem)])


def _flatten(value: Any, path: str) -> tuple[tuple[int, ...], list[Any]]:
    """The shape of nested lists, and their values in one list. Raises InvalidInputError where they are ragged."""
    shape: tuple[int, ...] = ()
    flat = [value]
    while any(isinstance(item, list) for item in flat):
        length = len(flat[0]) if isinstance(flat[0], list) else None
        for index, item in enumerate(flat):
            if not isinstance(item, list) or len(item) != length:
                raise InvalidInputError([Fault(path=_place(path, shape, index), problem="of another length than its neighbours")])
        shape = (*shape, len(flat[0]))
        flat = list(chain.from_iterable(flat))
    return shape, flat


def _place(path: str, shape: tuple[int, ...], index: int) -> str:
    return path + "".join(f"[{position}]" for position in np.unravel_index(index, shape)) if shape else path
