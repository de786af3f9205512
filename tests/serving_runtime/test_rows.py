"""A row reaches the model as the same values, whichever rows stand beside it in the request."""

import base64
import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving_runtime.errors import InvalidInputError
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform import conformer
from serving_runtime.input.conform_plan import ConformPlan, Matrix
from serving_runtime.protocols.domino.call import read_call
from serving_runtime.protocols.mlflow.request import from_document
from serving_runtime.protocols.open_inference.request import read_tensors
from serving_runtime.signature import Array, Column, Map, Scalar, Signature, Type

KINDS: dict[str, tuple[Type, st.SearchStrategy[Any]]] = {
    "double": (Scalar(name="double"), st.floats(-1e6, 1e6)),
    "float": (Scalar(name="float"), st.floats(-1e6, 1e6, width=32)),
    "string": (Scalar(name="string"), st.text("abc\u2603", max_size=3)),
    "boolean": (Scalar(name="boolean"), st.booleans()),
    "binary": (Scalar(name="binary"), st.binary(max_size=3).map(lambda data: base64.b64encode(data).decode())),
    "datetime": (Scalar(name="datetime"), st.sampled_from(["2024-01-31", "1999-12-31T23:59:59"])),
    "long": (Scalar(name="long"), st.integers(-5, 5)),
    "integer": (Scalar(name="integer"), st.integers(-5, 5)),
    "array": (Array(items=Scalar(name="long")), st.lists(st.integers(-5, 5), max_size=2)),
    "map": (Map(values=Scalar(name="string")), st.dictionaries(st.sampled_from("xy"), st.text(max_size=2), max_size=2)),
}
WHOLE = {"long", "integer"}
DATATYPES = {"double": "FP64", "float": "FP32", "boolean": "BOOL", "long": "INT64", "integer": "INT32"}


def requests(rows: list[list[Any]], names: list[str], kinds: list[str], signature: Signature) -> Any:
    split = {"columns": names, "data": rows}
    records = [dict(zip(names, row, strict=True)) for row in rows]
    yield from_document({"dataframe_split": split}, signature)
    yield from_document({"dataframe_records": records}, signature)
    yield from_document({"inputs": records}, signature)
    yield from_document({"instances": records}, signature)
    yield read_call([], {"dataframe_records": records}, signature)
    heads = []
    for position, (name, kind) in enumerate(zip(names, kinds, strict=True)):
        cells = [row[position] for row in rows]
        texts = [json.dumps(cell) if cell is not None and kind in {"array", "map"} else cell for cell in cells]
        content = {"parameters": {"content_type": "base64"}} if kind == "binary" else {}
        heads.append(
            {"name": name, "datatype": DATATYPES.get(kind, "BYTES"), "shape": [len(rows)], "data": texts, **content}
        )
    yield read_tensors({"inputs": heads}, None, signature)


def cells(frame: Any, row: int) -> list[Any]:
    frame = frame.frame if isinstance(frame, Matrix | Blocks) else frame
    return [[str(name), plain(frame[name].iloc[row])] for name in frame.columns]


def plain(value: Any) -> Any:
    if isinstance(value, np.bool_):  # a column of booleans with a null holds Python's own
        return repr(bool(value))
    if value is None:
        return "None"
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return "NaT" if value is pd.NaT else repr(value)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_row_is_the_same_alone_and_among_others_in_every_protocol(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    names = [f"{kind}-{position}" for position, kind in enumerate(kinds)]
    columns = [Column(name=name, type=KINDS[kind][0], required=False) for name, kind in zip(names, kinds, strict=True)]
    signature = Signature(columns=tuple(columns))
    # A whole number has no null: such a column is left out or the request is refused.
    strategies = [KINDS[kind][1] if kind in WHOLE else st.none() | KINDS[kind][1] for kind in kinds]
    rows = data.draw(st.lists(st.tuples(*strategies).map(list), min_size=1, max_size=4))
    plan = ConformPlan(signature, conformer(signature))

    for form, together in enumerate(requests(rows, names, kinds, signature)):
        try:
            batch = plan.conform(together).data
        except InvalidInputError:
            batch = None  # then no row of it may be accepted alone in another shape than below
        for row, values in enumerate(rows):
            alone = list(requests([values], names, kinds, signature))[form]
            if batch is None:
                assert any(refused(plan, list(requests([other], names, kinds, signature))[form]) for other in rows)
            else:
                assert cells(batch, row) == cells(plan.conform(alone).data, 0)


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_nan_is_null_in_a_column_of_any_type(data: st.DataObject) -> None:
    kinds = data.draw(st.lists(st.sampled_from(sorted(KINDS)), min_size=1, max_size=4))
    names = [f"{kind}-{position}" for position, kind in enumerate(kinds)]
    required = data.draw(st.booleans())
    columns = [
        Column(name=name, type=KINDS[kind][0], required=required) for name, kind in zip(names, kinds, strict=True)
    ]
    signature = Signature(columns=tuple(columns))
    rows = data.draw(
        st.lists(st.tuples(*(st.none() | KINDS[kind][1] for kind in kinds)).map(list), min_size=1, max_size=4)
    )
    with_nan = [[math.nan if cell is None else cell for cell in row] for row in rows]
    plan = ConformPlan(signature, conformer(signature))

    for by_null, by_nan in zip(
        requests(rows, names, kinds, signature), requests(with_nan, names, kinds, signature), strict=True
    ):
        assert outcome(plan, by_nan, len(rows)) == outcome(plan, by_null, len(rows))


def outcome(plan: ConformPlan, request: Any, rows: int) -> Any:
    """Return the cells of all rows, or the paths of what is refused."""
    try:
        conformed = plan.conform(request).data
    except InvalidInputError as error:
        return [fault.path for fault in error.faults]
    return [cells(conformed, row) for row in range(rows)]


def refused(plan: ConformPlan, request: Any) -> bool:
    try:
        plan.conform(request)
    except InvalidInputError:
        return True
    return False


@pytest.mark.parametrize("form", ["dataframe_split", "dataframe_records", "inputs"])
def test_null_in_an_optional_boolean_is_none_and_the_others_are_checked_as_ever(form: str) -> None:
    def request(*values: Any) -> Any:
        split = {"columns": ["a"], "data": [[value] for value in values]}
        records = [{"a": value} for value in values]
        return from_document({form: split if form == "dataframe_split" else records}, signature)

    signature = Signature(columns=(Column(name="a", type=Scalar(name="boolean"), required=False),))
    plan = ConformPlan(signature, conformer(signature))

    assert plan.conform(request(True, None, False)).data["a"].tolist() == [True, None, False]
    assert plan.conform(request(None)).data["a"].tolist() == [None]
    with pytest.raises(InvalidInputError) as refused:
        plan.conform(request(True, None, "no", 1))
    assert [(fault.path, fault.got) for fault in refused.value.faults] == [
        (f"{form}.data[2][0]" if form == "dataframe_split" else f"{form}[2].a", "a string"),
        (f"{form}.data[3][0]" if form == "dataframe_split" else f"{form}[3].a", "a number"),
    ]
