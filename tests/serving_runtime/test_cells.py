"""Single values of JSON in each of numpy's types."""

from typing import Any

import numpy as np
import pytest

from serving_runtime.input.cells import CellError, convert


@pytest.mark.parametrize(
    ("values", "dtype", "converted"),
    [
        ([True, False], "bool", [True, False]),
        ([1, 2.0], "int8", [1, 2]),
        ([255], "uint8", [255]),
        ([2**64 - 1], "uint64", [2**64 - 1]),
        ([1, 2.5, None], "float64", [1.0, 2.5, float("nan")]),
        ([2**53], "float64", [2.0**53]),
        ([2**60], "float64", [2.0**60]),
        ([0.1], "float32", [np.float32(0.1).item()]),
        (["a", None], "str", ["a", None]),
        (["ab"], "bytes", [b"ab"]),
        ([1, "a", None], "object", [1, "a", None]),
        ([], "float64", []),
    ],
)
def test_a_value_becomes_one_of_its_type(values: list[Any], dtype: str, converted: list[Any]) -> None:
    np.testing.assert_equal(convert(values, np.dtype(dtype)).tolist(), converted)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-01-31", "2024-01-31T00:00:00"),
        ("2024-01-31 12:30", "2024-01-31T12:30:00"),
        ("2024-01-31T12:30:45.123456789", "2024-01-31T12:30:45.123456789"),
        ("2024-01-31T12:30:45Z", "2024-01-31T12:30:45"),
        ("2024-01-31t12:30:45z", "2024-01-31T12:30:45"),
        ("2024-01-31T12:30:45+0530", "2024-01-31T07:00:45"),
        ("2024-01-01T00:30:00+01:00", "2023-12-31T23:30:00"),
    ],
)
def test_a_time_is_one_moment_in_utc(text: str, moment: str) -> None:
    assert convert([text], np.dtype("datetime64[ns]"))[0] == np.datetime64(moment, "ns")


@pytest.mark.parametrize(
    ("values", "dtype", "index", "problem"),
    [
        ([True, 1], "bool", 1, "a number, where the model takes true or false"),
        ([1, "1"], "int64", 1, "a string, where the model takes a whole number"),
        ([1, True], "int64", 1, "a boolean, where the model takes a whole number"),
        ([1, 2.5], "int64", 1, "has a fraction"),
        ([-1], "uint8", 0, "out of range, the model takes a whole number from 0 to 255"),
        ([1, None], "int64", 1, "null, where the model takes a whole number"),
        ([1e300], "int64", 0, "out of range"),
        ([0.0, 1e300], "float32", 1, "too large for float32"),
        ([0, 10**400], "float64", 1, "too large for float64"),
        ([0, 16_777_217], "float32", 1, "a whole number that float32 would round"),
        ([{}], "float64", 0, "an object, where the model takes a number"),
        ([[1]], "str", 0, "an array, where the model takes a string"),
        (["a", "é"], "bytes", 1, "no ASCII"),
        (["2024-01-31T12:30:45.1234567890"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["31.01.2024"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["2024-02-30"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["1500-01-01"], "datetime64[ns]", 0, "out of range"),
        ([1.5], "complex128", 0, "values of type complex128 cannot be sent"),
    ],
)
def test_a_value_that_would_change_is_refused_with_its_index(values: list[Any], dtype: str, index: int, problem: str) -> None:
    with pytest.raises(CellError) as caught:
        convert(values, np.dtype(dtype))

    assert caught.value.index == index
    assert problem in str(caught.value)
