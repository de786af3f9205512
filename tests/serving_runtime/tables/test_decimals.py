"""Decimals of a table give what the same digits in a CSV file give, or are refused."""

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from serving_runtime.codec.delimited import read_csv
from serving_runtime.errors import InvalidInputError
from serving_runtime.input.conform import conformer
from serving_runtime.input.request import Request
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables.arrow_tables import table_request
from tests.serving_runtime.tables.conftest import EXAMPLES

KINDS = ("integer", "long", "float", "double")


def signature_of(kind: str) -> Signature:
    return Signature(columns=(Column(name="a", type=Scalar(name=kind), required=False),))


def conformed(values: list[Decimal | None], kind: str, form: pa.DataType, offset: int = 0) -> list[Any]:
    signature = signature_of(kind)
    batch = pa.RecordBatch.from_arrays([pa.array(values, form)], ["a"]).slice(offset)
    cells: list[Any] = conformer(signature)(Request(input=table_request(batch, signature).input)).data["a"].tolist()
    return cells


@st.composite
def columns(draw: st.DrawFn) -> tuple[str, pa.DataType, Decimal]:
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    number = draw(st.integers(-(10**precision) + 1, 10**precision - 1))
    return draw(st.sampled_from(KINDS)), pa.decimal128(precision, scale), Decimal(f"{number}e{-scale}")


@given(columns())
@example(("double", pa.decimal128(15, 15), Decimal("0.100000000000001")))
@example(("double", pa.decimal128(17, 0), Decimal("9007199254740993")))
@example(("float", pa.decimal128(8, 0), Decimal("16777217")))
@example(("long", pa.decimal128(19, 0), Decimal("9223372036854775807")))
@example(("integer", pa.decimal128(10, 0), Decimal("2147483648")))
@settings(max_examples=EXAMPLES, deadline=None)
def test_decimal_that_is_taken_is_the_number_of_the_same_digits_in_a_csv_file(
    column: tuple[str, pa.DataType, Decimal],
) -> None:
    kind, form, value = column
    try:
        taken = conformed([value], kind, form)
    except InvalidInputError:
        return

    signature = signature_of(kind)
    read = conformer(signature)(Request(input=read_csv(f"a\n{value:f}\n".encode(), signature))).data
    assert taken == read["a"].tolist()
    shortest = str(np.float32(taken[0]) if kind == "float" else taken[0])
    assert value in (Decimal(taken[0]), Decimal(shortest))


@pytest.mark.parametrize(
    ("kind", "form", "values", "wanted"),
    [
        ("integer", pa.decimal128(10, 2), ["1.00", "-7.00"], [1, -7]),
        ("long", pa.decimal128(38, 0), ["9223372036854775807"], [9223372036854775807]),
        ("double", pa.decimal128(10, 2), ["0.10", None, "-12.34"], [0.1, None, -12.34]),
        ("double", pa.decimal128(38, 20), ["0.1", None], [0.1, None]),
        ("double", pa.decimal128(5, -2), ["1200"], [1200.0]),
        ("double", pa.decimal256(40, 2), ["0.10"], [0.1]),
        ("float", pa.decimal128(6, 3), ["0.125", "0.100"], [0.125, float(np.float32(0.1))]),
    ],
)
def test_decimals_that_the_type_holds_are_taken(
    kind: str, form: pa.DataType, values: list[str | None], wanted: list[float | None]
) -> None:
    decimals = [None if value is None else Decimal(value) for value in values]

    taken = conformed([Decimal(0), *decimals], kind, form, offset=1)

    assert [None if np.isnan(value) else value for value in taken] == wanted


@pytest.mark.parametrize(
    ("kind", "form", "value"),
    [
        ("integer", pa.decimal128(10, 2), "1.50"),
        ("integer", pa.decimal128(10, 0), "2147483648"),
        ("long", pa.decimal128(19, 0), "9223372036854775808"),
        ("double", pa.decimal128(20, 0), "9007199254740993"),
        ("double", pa.decimal128(38, 20), "0.12345678901234567891"),
        ("float", pa.decimal128(8, 0), "16777217"),
        ("float", pa.decimal128(10, 2), "12345678.25"),
        ("string", pa.decimal128(10, 2), "1.50"),
        ("boolean", pa.decimal128(1, 0), "1"),
    ],
)
def test_decimal_that_the_type_cannot_hold_is_refused_with_its_place(kind: str, form: pa.DataType, value: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        conformed([Decimal(0), Decimal(value)] if kind in KINDS else [None, Decimal(value)], kind, form)

    assert [fault.path for fault in refused.value.faults] == ['table[1]["a"]']
