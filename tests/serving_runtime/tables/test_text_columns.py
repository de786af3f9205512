"""Texts of Arrow become, without a Python object for each, what the same texts of a JSON body become."""

import json
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_runtime.input.conform import conformer
from serving_runtime.input.conform_plan import ConformPlan
from serving_runtime.input.merging import merged
from serving_runtime.input.request import Request
from serving_runtime.input.table import from_columns
from serving_runtime.input.text_columns import TextCells, TextColumns
from serving_runtime.signature import read_signature
from serving_runtime.tables.arrow_tables import table_request

KINDS = {"code": "string", "city": "string", "count": "long"}
SIGNATURE = read_signature(
    {"inputs": json.dumps([{"name": name, "type": kind, "required": kind == "long"} for name, kind in KINDS.items()])}
)
PLAN = ConformPlan(SIGNATURE, conformer(SIGNATURE))
TYPES = st.sampled_from([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())])
TEXTS = st.none() | st.text(max_size=3) | st.sampled_from(["", "00123", "NA", "nan", "ü", "🦀", "\0"])
ROWS = st.lists(st.tuples(TEXTS, TEXTS), max_size=5)


def batch_of(rows: list[tuple[Any, Any]], *kinds: pa.DataType) -> pa.RecordBatch:
    columns = [pa.array([row[place] for row in rows], pa.string()).cast(kind) for place, kind in enumerate(kinds)]
    return pa.RecordBatch.from_arrays([*columns, pa.array(range(len(rows)), pa.int64())], names=list(KINDS))


def of_json(rows: list[tuple[Any, Any]]) -> Request:
    columns = {"code": [row[0] for row in rows], "city": [row[1] for row in rows], "count": [*range(len(rows))]}
    return Request(input=from_columns(columns, "inputs"))


@given(rows=ROWS, kinds=st.tuples(TYPES, TYPES), before=ROWS)
def test_texts_of_arrow_are_those_of_json(
    rows: list[tuple[Any, Any]], kinds: tuple[pa.DataType, pa.DataType], before: list[tuple[Any, Any]]
) -> None:
    expected = PLAN.conform(of_json([*before, *rows])).data.frame.iloc[len(before) :].reset_index(drop=True)

    request = table_request(batch_of([*before, *rows], *kinds).slice(len(before)), SIGNATURE)

    pd.testing.assert_frame_equal(PLAN.conform(request).data.frame, expected)
    pd.testing.assert_frame_equal(conformer(SIGNATURE)(request).data, expected, check_index_type=False)


@given(of_arrow=ROWS, texts=ROWS, again=ROWS)
def test_requests_of_arrow_and_of_json_share_a_call(
    of_arrow: list[tuple[Any, Any]], texts: list[tuple[Any, Any]], again: list[tuple[Any, Any]]
) -> None:
    kinds = pa.string(), pa.large_string()
    requests = [
        table_request(batch_of(of_arrow, *kinds), SIGNATURE),
        of_json(texts),
        table_request(batch_of(again, *kinds), SIGNATURE),
    ]

    together = merged([PLAN.conform(request).data for request in requests])

    frames = [PLAN.conform(of_json(rows)).data.frame for rows in (of_arrow, texts, again)]
    pd.testing.assert_frame_equal(together.frame, pd.concat(frames, ignore_index=True))


def test_no_text_becomes_an_object_on_the_way_to_the_frame() -> None:
    request = table_request(batch_of([("a", None), ("b", "c")], pa.string(), pa.string()), SIGNATURE)

    cells = request.input.columns["code"]  # type: ignore[union-attr]  # a table
    assert isinstance(cells, TextCells)
    assert any(isinstance(values, TextColumns) for values in PLAN.conform(request).data.values)


def test_cells_are_read_as_those_of_a_list() -> None:
    table = table_request(batch_of([("a", None), (None, "b")], pa.string(), pa.string()), SIGNATURE).input
    cells = table.columns["code"]  # type: ignore[union-attr]  # a table

    assert (list(cells), cells[0], cells[1], list(cells[1:]), len(cells)) == (["a", None], "a", None, [None], 2)


def test_text_that_is_not_utf8_is_refused() -> None:
    offsets, letters = pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
    column = pa.StringArray.from_buffers(1, offsets, letters)
    batch = pa.RecordBatch.from_arrays([column, pa.array(["a"]), pa.array([1])], names=list(KINDS))

    with pytest.raises(UnicodeDecodeError):
        table_request(batch, SIGNATURE)
