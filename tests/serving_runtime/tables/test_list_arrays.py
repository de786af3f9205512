"""Lists of a column as one array: the same tensor as from Python's lists, or the same refusal."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conform
from serving_runtime.input.table import Table
from serving_runtime.signature import Signature, Tensor
from serving_runtime.tables.arrow_tables import table_request
from serving_runtime.tables.list_arrays import array_of_lists, nested_values
from tests.serving_runtime.tables.conftest import EXAMPLES

NOON = datetime(2024, 1, 31, 12, 0, tzinfo=UTC)
LISTS = pa.list_(pa.list_(pa.int64()))
# Infinity is no value of a list, and one of an array.
VALUES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "long": (pa.int64(), st.integers(-(2**63), 2**63 - 1) | st.integers(-3, 300)),
    "byte": (pa.uint8(), st.integers(0, 255)),
    "double": (pa.float64(), st.floats(allow_infinity=False)),
    "float": (pa.float32(), st.floats(width=32, allow_infinity=False)),
    "boolean": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.text(max_size=2)),
}
DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool", "str", "object")


def signature_of(dtype: str, *lengths: int) -> Signature:
    return Signature(tensors=(Tensor(name="x", dtype=np.dtype(dtype), shape=(-1, *lengths)),))


def conformed(value: Any, signature: Signature) -> tuple[Any, str]:
    """Return the values of the tensor and its type, or the words of the refusal."""
    try:
        tensor = conform(value, signature)["x"]
    except ServingError as error:
        return None, str(error)
    return tensor.tolist(), str(tensor.dtype)


@st.composite
def columns(draw: st.DrawFn) -> pa.Array:
    kind, values = VALUES[draw(st.sampled_from(sorted(VALUES)))]
    for _ in range(draw(st.integers(0, 2))):
        lists = draw(st.sampled_from([pa.list_, pa.large_list]))
        length = draw(st.integers(0, 3))
        sizes = st.just(length) if draw(st.booleans()) else st.integers(0, 3)
        kind = pa.list_(kind, length) if draw(st.booleans()) else lists(kind)
        exact = length if pa.types.is_fixed_size_list(kind) else None
        inner = values if draw(st.booleans()) else values | st.none()
        values = (st.just(exact) if exact is not None else sizes).flatmap(
            lambda size, inner=inner: st.lists(inner, min_size=size, max_size=size)
        )
    rows = draw(st.lists(values, max_size=5))
    start = draw(st.integers(0, len(rows)))
    return pa.array(rows, kind).slice(start)


@given(columns(), st.sampled_from(DTYPES), st.sampled_from([(), (2,), (-1,), (1, 2), (2, 2), (4,)]))
@settings(max_examples=EXAMPLES, deadline=None)
def test_tensor_of_a_column_is_that_of_its_lists(column: pa.Array, dtype: str, lengths: tuple[int, ...]) -> None:
    signature = signature_of(dtype, *lengths)
    lists = Table(columns={"x": column.to_pylist()}, rows=len(column), path="table", place=lambda _, row: f"[{row}]")

    found, kind = conformed(table_request(pa.record_batch({"x": column}), signature).input, signature)
    expected, expected_kind = conformed(lists, signature)

    assert kind == expected_kind
    assert repr(found) == repr(expected)  # also of NaN


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], LISTS),
        pa.array([[[0, 0], [0, 0]], [[1, 2], [3, 4]], [[5, 6], [7, 8]]], LISTS).slice(1),
        pa.array([[[1, 2], [3, 4]], [[5, 6], [7, 8]]], pa.list_(pa.list_(pa.int64(), 2), 2)),
        pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(1, 9).reshape(2, 2, 2)),
    ],
    ids=["lists", "a part", "lists of a fixed size", "tensors"],
)
def test_numbers_are_one_array_that_the_model_may_change(column: pa.Array) -> None:
    array = array_of_lists(column)

    assert array is not None
    assert array.tolist() == [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    array += 1


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], None]),
        pa.array([[1], [None]]),
        pa.array([[1], [1, 2]]),
        pa.array([["a"]]),
        pa.array([[[1], [1, 2]]], LISTS),
        pa.array([[1, None]], pa.list_(pa.int64(), 2)),
    ],
    ids=["null", "null within", "lengths", "texts", "lengths within", "null of a fixed size"],
)
def test_other_lists_are_left_to_the_checks(column: pa.Array) -> None:
    assert array_of_lists(column) is None


NESTED = {
    "lists": pa.array([[1, 2], [], [3]], pa.list_(pa.int32())),
    "a part": pa.array([[1, 2], [], [3]], pa.list_(pa.int32())).slice(1),
    "large lists of texts": pa.array([["a", "ä"], []], pa.large_list(pa.large_string())),
    "objects": pa.array([{"a": 1.5, "b": [True]}, {"a": 2.5, "b": []}]),
    "a part of objects": pa.array([{"a": 1.5, "b": [True]}, {"a": 2.5, "b": []}]).slice(1),
    "objects in lists": pa.array([[{"a": "x"}], []]),
    "no rows": pa.array([], pa.list_(pa.int32())),
}


@pytest.mark.parametrize("column", NESTED.values(), ids=NESTED)
def test_lists_and_objects_are_the_values_of_arrow(column: pa.Array) -> None:
    assert nested_values(column) == column.to_pylist()


@pytest.mark.parametrize(
    "column",
    [
        pa.array([[1], None]),
        pa.array([[1, None]]),
        pa.array([{"a": None}, {"a": 1}]),
        pa.array([[NOON]]),
        pa.array([[b"a"]]),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
        pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"]),
    ],
    ids=["null", "null in a list", "null in an object", "times", "bytes", "maps", "one name twice"],
)
def test_other_nested_values_are_left_to_arrow(column: pa.Array) -> None:
    assert nested_values(column) is None
