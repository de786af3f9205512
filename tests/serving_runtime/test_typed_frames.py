"""A frame of a caller in Python has the values that a request would have brought."""

from datetime import date
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest

from serving_runtime.input.conform import conform
from serving_runtime.input.request import TypedFrame
from serving_runtime.input.table import from_frame, from_records
from serving_runtime.protocols.domino.call import native, read_call
from serving_runtime.signature import Column, Scalar, Signature

# The type of the signature, the column of the frame, and the same in JSON.
COLUMNS: Final[dict[str, tuple[str, Any, list[Any]]]] = {
    "texts, one of which is missing": ("string", ["a", None], ["a", None]),
    "texts beside pandas' NaN": ("string", np.array(["a", np.nan], dtype=object), ["a", None]),
    "texts of pandas' own type": ("string", pd.array(["a", None], dtype="string"), ["a", None]),
    "categories": ("string", pd.Categorical(["a", None]), ["a", None]),
    "doubles": ("double", [0.5, None], [0.5, None]),
    "doubles of pandas' own type": ("double", pd.array([0.5, None], dtype="Float64"), [0.5, None]),
    "singles for doubles": ("double", np.array([0.5, 1.5], dtype="float32"), [0.5, 1.5]),
    "whole numbers": ("integer", np.array([1, 2], dtype="uint8"), [1, 2]),
    "whole numbers of pandas' own type": ("long", pd.array([1, 2**53 + 1], dtype="Int64"), [1, 2**53 + 1]),
    "booleans of pandas' own type": ("boolean", pd.array([True, None], dtype="boolean"), [True, None]),
    "times of a zone": (
        "datetime",
        pd.to_datetime(["2024-01-31T12:00:00.123456789+01:00", None]),
        ["2024-01-31T11:00:00.123456789", None],
    ),
    "dates": ("datetime", [date(2024, 1, 31), None], ["2024-01-31", None]),
    "bytes": ("binary", [b"a", None], ["YQ==", None]),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_frame_has_the_values_of_json(name: str) -> None:
    kind, cells, values = COLUMNS[name]
    signature = Signature(columns=(Column(name="x", type=Scalar(name=kind), required=False),))

    found = conform(from_frame(pd.DataFrame({"x": cells})), signature)

    pd.testing.assert_frame_equal(found, conform(from_records([{"x": value} for value in values], "rows"), signature))


@pytest.mark.parametrize("name", COLUMNS)
def test_column_of_a_call_has_the_values_of_json(name: str) -> None:
    kind, cells, values = COLUMNS[name]
    signature = Signature(columns=(Column(name="x", type=Scalar(name=kind), required=False),))
    expected = conform(from_records([{"x": value} for value in values], "rows"), signature)

    found = conform(read_call((), {"x": pd.Series(cells)}, signature).input, signature)

    pd.testing.assert_frame_equal(found, expected)


MOMENT = "2024-01-31T12:00:00.123456789"


@pytest.mark.parametrize(
    ("value", "in_json"),
    [
        (pd.NaT, None),
        (pd.NA, None),
        (np.datetime64(MOMENT), MOMENT),
        (np.array([MOMENT, "NaT"], "M8[ns]"), [MOMENT, None]),
        (np.array([[MOMENT]], "M8[ns]"), [[MOMENT]]),
        (pd.DatetimeIndex([MOMENT, None]), [MOMENT, None]),
        (pd.Series([np.array([1, 2])]), [[1, 2]]),
    ],
    ids=["NaT", "NA", "a time", "times", "rows of times", "an index", "arrays"],
)
def test_value_of_a_call_is_that_of_json(value: Any, in_json: Any) -> None:
    assert native(value) == in_json


@pytest.mark.parametrize("cells", [pd.array([0.5, None], dtype="Float64"), [0.5, None]], ids=["pandas", "numpy"])
def test_numbers_of_a_frame_are_those_of_numpy_for_mlflows_check(cells: Any) -> None:
    signature = Signature(columns=(Column(name="x", type=Scalar(name="double"), required=True),))

    found = conform(TypedFrame(frame=pd.DataFrame({"x": cells})), signature)

    pd.testing.assert_frame_equal(found, pd.DataFrame({"x": [0.5, np.nan]}))


@pytest.mark.parametrize("read", [from_frame, lambda frame: TypedFrame(frame=frame)], ids=["native", "mlflow"])
def test_infinity_of_a_frame_is_a_number(read: Any) -> None:
    signature = Signature(columns=(Column(name="x", type=Scalar(name="double"), required=True),))

    assert conform(read(pd.DataFrame({"x": [np.inf]})), signature)["x"].tolist() == [np.inf]
