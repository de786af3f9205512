"""Text in CSV bodies: a word stays what it is in a column of texts, and no number is rounded on its way."""

import io
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_runtime.codec.csv_names import known_names
from serving_runtime.codec.delimited import NULLS, read_csv
from serving_runtime.errors import InvalidInputError, MalformedRequestError
from serving_runtime.input.request import TypedFrame
from serving_runtime.input.table import Table
from serving_runtime.signature import Column, Scalar, Signature
from serving_runtime.tables.bodies import csv_table


def cells(text: str, kind: str) -> list[Any]:
    table = read_csv(text.encode(), Signature(columns=(Column(name="x", type=Scalar(name=kind), required=False),)))
    return list(table.columns["x"])  # type: ignore[union-attr]  # there is a signature


@pytest.mark.parametrize("word", sorted(NULLS - {""}))
def test_a_word_for_null_stays_in_a_column_of_texts_only(word: str) -> None:
    assert cells(f"y,x\n1,{word}\n", "string") == [word]
    assert cells(f"y,x\n1,{word}\n", "binary") == [word]
    assert cells(f"y,x\n1,{word}\n", "double") == [None]


def test_an_empty_cell_is_null_and_an_empty_text_in_quotes_is_a_text() -> None:
    assert cells('y,x\n1,\n2,""\n', "string") == [None, ""]
    assert cells('y,x\n1,\n2,""\n', "double") == [None, None]


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        ("string", "00123", "00123"),
        ("long", "9007199254740993.0", 9007199254740993),
        ("long", "00123", 123),
        ("double", "9007199254740993", 9007199254740993),
        ("double", "\uff11\uff12", "\uff11\uff12"),
        ("long", "\uff11\uff12", "\uff11\uff12"),
        ("double", "1_000", "1_000"),
    ],
)
def test_a_number_in_text_is_no_other_number(kind: str, text: str, value: Any) -> None:
    found = cells(f"x\n{text}\n", kind)

    assert (found, type(found[0])) == ([value], type(value))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("FALSE", False),
        ("t", True),
        ("f", False),
        ("1", True),
        ("0", False),
        ("2", "2"),
        ("yes", "yes"),
    ],
)
def test_booleans_are_those_of_pandas_r_and_databases(text: str, value: Any) -> None:
    assert cells(f"x\n{text}\n", "boolean") == [value]


def test_columns_without_a_name_are_left_out_as_a_spreadsheet_writes_them_beside_a_table() -> None:
    for header in ("x,,", 'x,"",""', ",x,"):
        row = ",".join("7" if name == "x" else "" for name in header.split(","))
        assert cells(f"{header}\n{row}\n", "long") == [7]
    with pytest.raises(InvalidInputError, match="2 values, where the header has 3"):
        cells("x,,\n7,\n", "long")


def test_a_model_without_a_signature_gets_the_names_of_pandas_for_columns_without_one() -> None:
    found = read_csv(b"x,,\n1,2,3\n", Signature())

    assert isinstance(found, TypedFrame)
    assert found.frame.to_dict("list") == {"x": [1], "Unnamed: 1": [2], "Unnamed: 2": [3]}


TRAINED: dict[str, tuple[str, dict[str, int]]] = {
    "an index that pandas has written": (",x", {"Unnamed: 0": 1, "x": 2}),
    "one that it has written twice": (",Unnamed: 0,x", {"Unnamed: 0.1": 1, "Unnamed: 0": 2, "x": 3}),
    "a name that comes twice": ("x,x,x.1", {"x": 1, "x.2": 2, "x.1": 3}),
    "only the second of a name": ("y,y", {"y.1": 2}),
}


@pytest.mark.parametrize("way", [read_csv, csv_table], ids=["by cells", "by columns"])
@pytest.mark.parametrize("sentence", TRAINED)
def test_a_model_gets_the_columns_that_pandas_has_named(
    sentence: str, way: Callable[[bytes, Signature], Table | None]
) -> None:
    header, expected = TRAINED[sentence]
    kind = Scalar(name="long")
    signature = Signature(columns=tuple(Column(name=name, type=kind, required=True) for name in expected))
    row = ",".join(str(place + 1) for place in range(header.count(",") + 1))

    table = way(f"{header}\n{row}\n".encode(), signature)

    assert table is not None
    assert {name: list(table.columns[name]) for name in expected} == {name: [cell] for name, cell in expected.items()}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from(["", "a", "a.1", "a.2", "Unnamed: 0", "Unnamed: 1", "Unnamed: 0.1"]), min_size=2))
def test_names_of_pandas_are_those_that_it_gives(header: list[str]) -> None:
    named = pd.read_csv(io.StringIO(",".join(header) + "\n")).columns
    signature = Signature(columns=tuple(Column(name=name, type=Scalar(name="long"), required=True) for name in named))

    assert known_names(header, signature) == [*named]


def test_a_row_that_pandas_cannot_read_is_named() -> None:
    with pytest.raises(InvalidInputError, match=r"csv\[1\]: 3 values, where the header has 2"):
        read_csv(b"a,b\n1,2\n1,2,3\n", Signature())


def test_columns_that_go_by_position_need_names_of_their_own() -> None:
    unnamed = Column(name=None, type=Scalar(name="long"), required=True)
    with pytest.raises(MalformedRequestError, match="a name that comes twice"):
        read_csv(b",\n1,2\n", Signature(columns=(unnamed, unnamed)))


def test_an_empty_line_between_the_rows_of_one_column_is_refused() -> None:
    with pytest.raises(MalformedRequestError, match="an empty line between its lines"):
        cells("x\na\n\nb\n", "string")


def test_a_byte_order_mark_is_no_part_of_the_first_name() -> None:
    assert cells("\ufeffx\na\n\n", "string") == ["a"]


@pytest.mark.parametrize(
    "columns", [(), (Column(name="x", type=Scalar(name="long"), required=True),)], ids=["free", "typed"]
)
def test_a_name_that_comes_twice_is_refused(columns: tuple[Column, ...]) -> None:
    with pytest.raises(MalformedRequestError, match="a name that comes twice"):
        read_csv(b"x,x\n1,2\n", Signature(columns=columns))


@given(st.lists(st.text('a",\n\r ', max_size=4), min_size=1, max_size=4))
def test_any_text_in_quotes_is_read_as_it_was_written(rows: list[str]) -> None:
    lines = "".join(f'{number},"{text.replace(chr(34), 2 * chr(34))}"\n' for number, text in enumerate(rows))

    assert cells(f"y,x\n{lines}", "string") == rows


@pytest.mark.parametrize("way", [read_csv, csv_table], ids=["by cells", "by columns"])
def test_a_text_is_as_long_as_a_document(way: Callable[[bytes, Signature], Table | None]) -> None:
    signature = Signature(columns=(Column(name="x", type=Scalar(name="string"), required=True),))
    document = "a line, and its end\n" * 10_000

    table = way(f'y,x\n1,"{document}"\n'.encode(), signature)

    assert table is not None
    assert list(table.columns["x"]) == [document]


@pytest.mark.parametrize("quotes", ['""' * 60_000, 'a""' * 40_000], ids=["quotes alone", "quotes between letters"])
def test_a_body_of_quotes_is_read_in_one_pass(quotes: str) -> None:
    body = f"y,x\na{quotes}"  # a pattern that begins anew at each quote would take minutes
    with pytest.raises(InvalidInputError, match="where the header has 2"):
        cells(body, "string")
