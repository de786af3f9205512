"""Single values of JSON in each of numpy's types."""

from typing import Any

import numpy as np
import pytest

from serving_runtime.input.cells import CellError, convert, every_error


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
        ("2024-01-31 12:30:45.678901+00", "2024-01-31T12:30:45.678901"),
        ("2024-01-31 12:30:45.678901 UTC", "2024-01-31T12:30:45.678901"),
        ("2024-01-31 12:30:45.678 -0800", "2024-01-31T20:30:45.678"),  # Snowflake's
        ("2024-01-31 12:30:45.1234567 +05:30", "2024-01-31T07:00:45.1234567"),  # SQL Server's
        ("NaT", "NaT"),
    ],
)
def test_a_time_is_one_moment_in_utc(text: str, moment: str) -> None:
    np.testing.assert_equal(convert([text], np.dtype("datetime64[ns]"))[0], np.datetime64(moment, "ns"))


@pytest.mark.parametrize("letter", "Tt ")
@pytest.mark.parametrize("offset", ["", "Z", "z", " Z", "UTC", " UTC", "+00", "-0000", "+00:00", " +0000"])
@pytest.mark.parametrize("digits", range(1, 10))
def test_each_form_of_a_time_keeps_all_digits_of_its_second(letter: str, offset: str, digits: int) -> None:
    seconds = f"12:30:45.{'123456789'[:digits]}"

    found = convert([f"2024-01-31{letter}{seconds}{offset}"], np.dtype("datetime64[ns]"))[0]

    assert found == np.datetime64(f"2024-01-31T{seconds}", "ns")


@pytest.mark.parametrize(
    ("values", "dtype", "index", "problem"),
    [
        ([True, 1], "bool", 1, "a number, where the model takes true or false"),
        ([1, "1"], "int64", 1, "a string, where the model takes a whole number"),
        ([1, True], "int64", 1, "a boolean, where the model takes a whole number"),
        ([1, 2.5], "int64", 1, "has a fraction"),
        ([-1], "uint8", 0, "out of range, where the model takes a whole number from 0 to 255"),
        ([1, None], "int64", 1, "null, where the model takes a whole number"),
        ([1e300], "int64", 0, "out of range"),
        ([0.0, 1e300], "float32", 1, "too large for float32"),
        ([0, 10**400], "float64", 1, "too large for float64"),
        ([0, 16_777_217], "float32", 1, "a whole number that float32 would round"),
        ([{}], "float64", 0, "an object, where the model takes a number"),
        ([[1]], "str", 0, "an array, where the model takes a string"),
        (["a", "é"], "bytes", 1, "a string of other letters"),
        (["2024-01-31T12:30:45.1234567890"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["31.01.2024"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["2024-02-30"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["2024-01-31 UTC"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["2024-01-31T12:30:45+24"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["2024-01-31 12:30:45  +00"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["nat"], "datetime64[ns]", 0, "no date or time of ISO 8601"),
        (["20240131"], "datetime64[ns]", 0, "no date or time of ISO 8601 with hyphens and colons"),
        (["1500-01-01"], "datetime64[ns]", 0, "out of range"),
        ([1.5], "complex128", 0, "the type complex128, which no protocol here can send"),
    ],
)
def test_a_value_that_would_change_is_refused_with_its_index(
    values: list[Any], dtype: str, index: int, problem: str
) -> None:
    with pytest.raises(CellError) as caught:
        convert(values, np.dtype(dtype))

    assert caught.value.index == index
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("array", "dtype", "converted"),
    [
        (np.array([1, 2], dtype="int8"), "int64", [1, 2]),
        (np.array([1, 2], dtype="uint64"), "int8", [1, 2]),
        (np.array([1.0, 2.0]), "int64", [1, 2]),
        (np.array([1, 2]), "float32", [1.0, 2.0]),
        (np.array([0.1, np.nan, np.inf]), "float32", [np.float32(0.1).item(), float("nan"), float("inf")]),
        (np.array([0.5], dtype="float16"), "float64", [0.5]),
    ],
)
def test_an_array_is_converted_to_another_type_without_changing_a_value(
    array: Any, dtype: str, converted: list[Any]
) -> None:
    found = convert(array, np.dtype(dtype))

    np.testing.assert_equal(found.tolist(), converted)
    assert found.dtype == dtype


@pytest.mark.parametrize(
    ("array", "dtype", "index", "problem"),
    [
        (np.array([1, 300]), "uint8", 1, "out of range"),
        (np.array([1.0, 1.5]), "int64", 1, "has a fraction"),
        (np.array([1.0, np.inf]), "int64", 1, "has a fraction"),
        (np.array([0.0, 1e300]), "float32", 1, "too large for float32"),
        (np.array([2**53 + 1]), "float64", 0, "would round"),
        (np.array([True]), "int64", 0, "a boolean"),
    ],
)
def test_an_array_whose_values_would_change_is_refused_like_single_values(
    array: Any, dtype: str, index: int, problem: str
) -> None:
    with pytest.raises(CellError) as caught:
        convert(array, np.dtype(dtype))

    assert caught.value.index == index
    assert problem in str(caught.value)


def test_every_value_at_fault_is_found_in_its_order() -> None:
    values = [1, "a", 2**70, 2, None, 0.5]

    errors = every_error(values, lambda part: convert(part, np.dtype("int64")), 20)

    assert [(error.index, error.got) for error in errors] == [
        (1, "a string"),
        (2, "a number out of range"),
        (4, "null"),
        (5, "a number that has a fraction"),
    ]


def test_the_search_for_faults_ends_at_the_number_that_is_reported() -> None:
    assert len(every_error(["a"] * 1_000_000, lambda part: convert(part, np.dtype("int64")), 20)) == 20
