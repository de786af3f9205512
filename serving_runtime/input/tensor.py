"""Conversion of nested lists into arrays of the signature's shape and type."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import chain
from math import prod
from typing import Any

import numpy as np

from serving_runtime.errors import MOST_FAULTS, Fault, InvalidInputError, at_once
from serving_runtime.input.cells import CellError, Values, convert, convert_numbers, every_error, json_type_name
from serving_runtime.input.nested import member
from serving_runtime.input.request import FlatTensor, JsonInput
from serving_runtime.input.table import Table
from serving_runtime.signature import Signature, Tensor

Tensors = Values | dict[str, Values]
MOST_DIMENSIONS = 32  # of an array of numpy 1


def json_tensors(source: JsonInput, signature: Signature) -> Tensors:
    """Return the tensor, or a dict of tensors by name. Raises InvalidInputError.

    Named tensors come as an object of tensors, a list of objects (one for each row), or the only tensor itself.
    """
    if not signature.named:
        return to_tensor(source.value, signature.tensors[0], source.path)
    if isinstance(source.value, list) and source.value and all(isinstance(item, dict) for item in source.value):
        by_name = {name: [item.get(name) for item in source.value] for item in source.value[:1] for name in item}
    elif isinstance(source.value, dict):
        by_name = source.value
    elif len(signature.tensors) == 1:
        by_name = {str(signature.tensors[0].name): source.value}
    else:
        raise InvalidInputError(
            [Fault(path=source.path, problem="the model takes several tensors, by name: send an object of them")]
        )
    path, places = source.path, source.places or {}
    return _named(by_name, signature, path, lambda name: places.get(name) or member(path, name), to_tensor)


def table_tensors(table: Table, signature: Signature) -> Tensors:
    """Return the columns of a table as tensors by name, or the whole table as the only tensor."""
    if signature.named:
        names = {str(key): _listed(cells) for key, cells in table.columns.items()}
        return _named(names, signature, table.path, lambda name: member(table.path, name), _rows)
    spec = signature.tensors[0]
    if len(table.columns) == 1:
        return _rows(_listed(next(iter(table.columns.values()))), spec, table.path)
    return to_tensor([list(row) for row in zip(*table.columns.values(), strict=True)], spec, table.path)


def _listed(cells: Sequence[Any]) -> Sequence[Any]:
    """Return the cells as a list; an array has a row for each cell."""
    return cells if isinstance(cells, np.ndarray) else list(cells)


def to_tensor(value: Any, spec: Tensor, path: str) -> Values:
    """Return nested lists, or one value, as an array in C order. Raises InvalidInputError."""
    shape, flat = flatten(value, path)
    if spec.dtype.kind != "O":  # a signature of objects says nothing about shapes either
        _expect_shape(shape, flat, spec, path)
    return _filled(flat, shape, spec, path)


def plain_array(value: Any, path: str) -> Values:
    """Return an array of the type that numpy finds in the values; of objects if that type would change a value."""
    shape, flat = flatten(value, path)
    if isinstance(flat, np.ndarray):
        return flat.reshape(shape)
    kinds = set(map(type, flat))
    if any(kinds <= alike for alike in ({bool}, {int, float}, {str})):
        return np.array(flat).reshape(shape)
    array = np.empty(len(flat), dtype=object)
    array[:] = flat
    return array.reshape(shape)


def _named(
    by_name: Mapping[str, Any],
    signature: Signature,
    path: str,
    place: Callable[[str], str],
    read: Callable[[Any, Tensor, str], Values],
) -> dict[str, Values]:
    """Return every tensor of the signature by name. Raises InvalidInputError with the faults of all tensors."""

    def tensor(spec: Tensor) -> Values:
        if str(spec.name) not in by_name:
            raise InvalidInputError(
                [Fault(path=path, problem=f'the tensor "{spec.name}" is missing, and the model requires it')]
            )
        return read(by_name[str(spec.name)], spec, place(str(spec.name)))

    tensors = at_once(*(partial(tensor, spec) for spec in signature.tensors))
    return {str(spec.name): values for spec, values in zip(signature.tensors, tensors, strict=True)}


def _rows(cells: Any, spec: Tensor, path: str) -> Values:
    """Return the tensor of cells, one for each row: a value, or a list of the row's values in C order."""
    shape, flat = flatten(cells, path)
    wanted = (len(cells), *spec.shape[1:])
    fits = spec.shape[:1] == (-1,) and -1 not in spec.shape[1:] and len(shape) <= 2 and prod(wanted) == len(flat)  # noqa: PLR2004  a flat list
    if not fits:
        _expect_shape(shape, flat, spec, path)
    return _filled(flat, wanted if fits else shape, spec, path)


def _filled(flat: Sequence[Any], shape: tuple[int, ...], spec: Tensor, path: str) -> Values:
    def read(values: Sequence[Any]) -> Values:
        if spec.dtype.kind == "U" and None in values:  # texts come as objects, which may be null
            raise CellError(list(values).index(None), "null", "a string")
        converted = (convert if isinstance(values, np.ndarray) else convert_numbers)(values, spec.dtype)
        return _exact_times(converted, spec.dtype) if spec.dtype.kind == "M" else converted

    try:
        converted = read(flat)
    except CellError as first:
        errors = every_error(flat, read, MOST_FAULTS) or [first]
        raise InvalidInputError([error.fault(_place(path, shape, error.index)) for error in errors]) from first
    return (converted.astype(str) if spec.dtype.kind == "U" else converted).reshape(shape)


def _exact_times(times: Values, dtype: np.dtype[Any]) -> Values:
    """Return times in the unit of the signature. Raises CellError if that unit would cut one."""
    coarser = times.astype(dtype)
    cut = (coarser.astype(times.dtype) != times) & ~np.isnat(times)
    if cut.any():
        raise CellError(int(cut.argmax()), f"a time that {dtype} would cut", "a date or time in its unit")
    return coarser


def _expect_shape(shape: tuple[int, ...], flat: Any, spec: Tensor, path: str) -> None:
    if len(shape) != len(spec.shape) or any(
        wanted not in (-1, length) for wanted, length in zip(spec.shape, shape, strict=True)
    ):
        takes = f"{list(spec.shape)} (-1 is any length)"
        problem = (
            f"an array of shape {list(shape)}, where the model takes {takes}"
            if shape or isinstance(flat, np.ndarray)
            else f"{json_type_name(flat[0])}, where the model takes an array of shape {takes}"
        )
        raise InvalidInputError([Fault(path=path, problem=problem)])


def flatten(value: Any, path: str) -> tuple[tuple[int, ...], Any]:
    """Return the shape of nested lists, and their values in one list.

    Raises InvalidInputError if the lists are ragged or too deep.
    """
    if isinstance(value, FlatTensor):
        return value.shape, value.values
    if isinstance(value, np.ndarray) and value.dtype.kind != "O":
        return value.shape, value.ravel()
    shape: tuple[int, ...] = ()
    flat = [value]
    while list in (kinds := set(map(type, flat))):
        if len(kinds) > 1 or len(set(map(len, flat))) > 1:
            length = len(flat[0]) if isinstance(flat[0], list) else None
            wrong = [index for index, item in enumerate(flat) if not isinstance(item, list) or len(item) != length]
            problem = "of another length than its neighbours"
            raise InvalidInputError(
                [Fault(path=_place(path, shape, index), problem=problem) for index in wrong[:MOST_FAULTS]]
            )
        if len(shape) == MOST_DIMENSIONS:
            raise InvalidInputError(
                [Fault(path=path, problem=f"lists of more than {MOST_DIMENSIONS} levels, which no array has")]
            )
        shape = (*shape, len(flat[0]))
        flat = list(chain.from_iterable(flat))
    return shape, flat


def _place(path: str, shape: tuple[int, ...], index: int) -> str:
    return path + "".join(f"[{position}]" for position in np.unravel_index(index, shape)) if shape else path
