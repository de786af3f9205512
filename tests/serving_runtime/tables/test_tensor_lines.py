"""JSON lines of tensors read into arrays give what reading each value gives: the same arrays, or nothing at all."""

from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_runtime.codec.strict_json import read_object
from serving_runtime.errors import ServingError
from serving_runtime.input.conform import conformer
from serving_runtime.protocols.mlflow.request import from_document
from serving_runtime.signature import Signature, Tensor
from serving_runtime.tables.tensor_lines import read_tensors
from tests.serving_runtime.tables.conftest import EXAMPLES

NUMBERS = [
    "0",
    "-0",
    "-0.0",
    "1",
    "1.5",
    "-2e3",
    "1E+2",
    "0.1",
    "1e400",
    "1e39",
    "1e-400",
    "4.9e-324",
    "16777217",
    "9007199254740993",
    "9007199254740993.0",
    "9223372036854775807",
    "9223372036854775808",
    "123456789012345678901234567890",
    "0.12345678901234567890123",
    "255",
    "256",
]  # fmt: skip  one list
ODD = [
    "01",
    "+1",
    ".5",
    "5.",
    "1e",
    "0x1",
    "NaN",
    "Infinity",
    "-",
    "null",
    "true",
    '"1"',
    '"a"',
    "[1]",
    "{}",
    "1 2",
    "",
]
DTYPES = ("float64", "float32", "int64", "int32", "uint8", "bool", "str")


def signature_of(dtype: str, *lengths: int, name: str | None = "x") -> Signature:
    return Signature(tensors=(Tensor(name=name, dtype=np.dtype(dtype), shape=(-1, *lengths)),))


def by_values(lines: list[bytes], signature: Signature) -> Any:
    try:
        request = from_document({"dataframe_records": [read_object(line) for line in lines]}, signature)
        return conformer(signature)(request).data
    except ServingError:
        return None


def assert_same(lines: list[bytes], signature: Signature) -> bool:
    """Return True if the lines are read into arrays."""
    request = read_tensors(lines, signature)
    if request is None:
        return False
    try:
        columns = conformer(signature)(request).data
    except ServingError:  # each value is read alone then, and a wrong one is named
        return False
    values = by_values(lines, signature)
    assert values is not None, lines
    assert columns.keys() == values.keys() if isinstance(values, dict) else True
    for one, other in zip(_arrays(columns), _arrays(values), strict=True):
        assert one.dtype == other.dtype, lines
        assert one.tobytes() == other.tobytes(), lines  # also the sign of a zero
        assert one.shape == other.shape, lines
    return True


def _arrays(tensors: Any) -> list[Any]:
    return list(tensors.values()) if isinstance(tensors, dict) else [tensors]


@st.composite
def records(draw: st.DrawFn) -> tuple[list[bytes], Signature]:
    length = draw(st.integers(0, 3))
    number = st.sampled_from(NUMBERS) | st.floats(allow_nan=False, allow_infinity=False).map(repr)
    value = st.one_of(number, number, st.sampled_from(["true", "false"]), st.sampled_from(ODD))
    plain = draw(st.sampled_from([number, value]))
    lists = st.lists(plain, min_size=length, max_size=length).map(lambda values: f"[{','.join(values)}]")
    if draw(st.booleans()):
        lists = st.lists(lists, min_size=1, max_size=2).map(lambda values: f"[{', '.join(values)}]")
    line = st.one_of(
        lists.map('{{"x":{}}}'.format),
        lists.map('{{"x": {} }}\r'.format),
        st.sampled_from(['{"x":[1],"x":[2]}', '{"x":[1]} {"x":[2]}', '{"x":', "1]}", '{"y":[1]}', '{"x":[1]}\0}']),
    )
    rows = draw(st.lists(lists.map('{{"x":{}}}'.format) if draw(st.booleans()) else line, min_size=1, max_size=4))
    dtype = draw(st.sampled_from(DTYPES))
    signature = signature_of(dtype, draw(st.sampled_from([-1, length])), name=draw(st.sampled_from(["x", None])))
    return [row.encode() + b"\n" for row in rows], signature


@given(records())
@settings(max_examples=EXAMPLES, deadline=None)
def test_arrays_have_the_values_of_the_lines(found: tuple[list[bytes], Signature]) -> None:
    assert_same(*found)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [*NUMBERS, *ODD])
def test_each_odd_value_is_the_same_in_an_array_and_alone(value: str, dtype: str) -> None:
    lines = [b'{"x":[1,2]}\n', b'{"x":[1,%s]}\n' % value.encode()]

    assert_same(lines, signature_of(dtype, 2))
    assert_same(lines[1:], signature_of(dtype, 2))


@pytest.mark.parametrize(("dtype", "value"), [("float32", 0.5), ("float64", 0.1), ("int32", 7)])
@pytest.mark.parametrize("name", ["x", None])
def test_plain_values_are_read_into_arrays(dtype: str, value: Any, name: str | None) -> None:
    flat = [orjson.dumps({"x": [value] * 4}) + b"\n"] * 3
    nested = [orjson.dumps({"x": [[value] * 2] * 2}) + b"\n"] * 3

    assert assert_same(flat, signature_of(dtype, 2, 2, name=name))
    assert assert_same(nested, signature_of(dtype, 2, 2, name=name))


@pytest.mark.parametrize(
    "lines",
    [
        [b'{"x":[1.5]} {"x":[2.5]}\n', b'{"x":[1.5]}\n'],
        [b'{"x":[1.5],"x":[2.5]}\n'],
        [b'{"x":[1.5],"\\u0078":[2.5]}\n'],
        [b'{"x":[1.5],"y":1,"y":2}\n'],
        [b'{"x":[1.5]}\0}\n'],
        [b'{"x":\n', b'[1.5]} {"x":[2.5]}\n'],
        [b'{"x":[1.5]}\n', b'{"x":[1.5,2.5]}\n'],
        [b'{"x":[1.5]}\n', b"{}\n"],
        [b'{"x":[1.5]}\n', b'{"x":null}\n'],
        [b"\xef\xbb\xbf" + b'{"x":[1.5]}\n'],
    ],
    ids=lambda lines: lines[-1].decode(errors="replace"),
)
def test_lines_that_are_no_plain_records_are_left_to_the_reader_of_each(lines: list[bytes]) -> None:
    assert read_tensors(lines, signature_of("float64", 1)) is None
