"""The fast path to a model's input gives what the general case gives, and merged inputs can be split again."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving_runtime.errors import InvalidInputError
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform import conformer
from serving_runtime.input.conform_plan import MANY_ROWS, ConformPlan, Matrix
from serving_runtime.input.merging import merge_key, merged
from serving_runtime.input.request import Request
from serving_runtime.input.table import Table, from_records, from_split
from serving_runtime.prediction.call_cost import CHEAP, CallCost, Stopwatch
from serving_runtime.prediction.comparison import same, varied
from serving_runtime.prediction.warm_up import split
from serving_runtime.signature import read_signature

KINDS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
TEXTS = st.sampled_from(["text", "aGk=", "2024-01-31", "2024-01-31T12:00:00+02:00", "\ud800", ""])
CELLS = st.one_of(st.none(), st.booleans(), st.integers(-(2**65), 2**65), st.floats(allow_nan=False), TEXTS)


def plan_of(*kinds: str, required: bool = True) -> tuple[ConformPlan, Any]:
    inputs = [{"name": f"c{number}", "type": kind, "required": required} for number, kind in enumerate(kinds)]
    signature = read_signature({"inputs": json.dumps(inputs)})
    return ConformPlan(signature, conformer(signature)), conformer(signature)


def framed(data: Any) -> pd.DataFrame:
    return data.frame if isinstance(data, Matrix | Blocks) else data


def as_records(rows: list[tuple[Any, Any]]) -> Table:
    return from_records([{"c1": second, "c0": first} for first, second in rows], "dataframe_records")


def as_split(rows: list[tuple[Any, Any]]) -> Table:
    return from_split({"columns": ["c0", "c1"], "data": [list(row) for row in rows]}, "dataframe_split")


def as_split_in_another_order(rows: list[tuple[Any, Any]]) -> Table:
    return from_split({"columns": ["c1", "c0"], "data": [[second, first] for first, second in rows]}, "dataframe_split")


@given(
    kinds=st.tuples(st.sampled_from(KINDS), st.sampled_from(KINDS)),
    required=st.booleans(),
    rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=4),
    form=st.sampled_from([as_records, as_split, as_split_in_another_order]),
)
def test_plan_gives_what_the_general_case_gives(
    kinds: tuple[str, str], required: bool, rows: list[tuple[Any, Any]], form: Callable[[list[tuple[Any, Any]]], Table]
) -> None:
    assert_same(*plan_of(*kinds, required=required), Request(input=form(rows)))


@given(
    kinds=st.sampled_from([("float", "float"), ("double", "double")]),
    first=st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    odd=st.tuples(CELLS, CELLS | st.just([1.0])),
)
def test_plan_gives_for_many_rows_what_the_general_case_gives(
    kinds: tuple[str, str], first: tuple[Any, Any], odd: tuple[Any, Any]
) -> None:
    rows = [first, *[(number / 3, -0.0) for number in range(MANY_ROWS)], odd, first]

    assert_same(*plan_of(*kinds), Request(input=as_split(rows)))


def assert_same(plan: ConformPlan, general: Any, request: Request) -> None:
    try:
        expected = general(request)
    except InvalidInputError as error:
        with pytest.raises(InvalidInputError) as raised:
            plan.conform(request)
        assert raised.value.details == error.details
        return

    conformed = plan.conform(request)
    pd.testing.assert_frame_equal(
        framed(merged([conformed.data])), expected.data, check_index_type=False, check_column_type=False
    )
    assert conformed.rows == expected.rows


@pytest.mark.parametrize("kinds", [("double", "double"), ("long", "string")], ids=["a matrix", "blocks"])
def test_inputs_of_one_key_become_one_and_come_apart(kinds: tuple[str, ...]) -> None:
    plan, _ = plan_of(*kinds)
    cell = "text" if kinds[1] == "string" else 2.0
    requests = [
        Request(input=from_records([{"c0": row, "c1": cell} for row in range(count)], "r")) for count in (1, 3, 2)
    ]
    conformed = [plan.conform(request) for request in requests]
    assert len({merge_key(one.data, one.params) for one in conformed}) == 1

    together = merged([one.data for one in conformed])
    pieces = split(framed(together)["c0"].to_numpy(), [one.rows or 0 for one in conformed])

    assert pieces is not None
    assert [list(piece) for piece in pieces] == [[0], [0, 1, 2], [0, 1]]


def test_uniform_table_is_a_matrix_and_no_copy() -> None:
    plan, _ = plan_of("double", "double")
    data = plan.conform(Request(input=from_records([{"c0": 1, "c1": 2.5}], "r"))).data

    assert isinstance(data, Matrix)
    assert np.shares_memory(data.frame.to_numpy(), data.values)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (np.zeros((2, 3)), np.zeros((2, 4))),
        (np.zeros(2), np.zeros(2, dtype="float32")),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]})),
        (pd.DataFrame({"a": [1.0]}), pd.DataFrame({"a": ["x"]})),
    ],
    ids=["another shape", "another type", "another column", "another type of a column"],
)
def test_inputs_that_differ_in_more_than_rows_have_other_keys(one: Any, other: Any) -> None:
    assert merge_key(one, None) != merge_key(other, None)
    assert merge_key(one, {"k": 1}) != merge_key(one, {"k": 2})


@pytest.mark.parametrize(
    "data", [pd.DataFrame({"a": [1]}, index=["x"]), {"messages": []}, [1, 2], "text", np.array(1.0)], ids=repr
)
def test_input_whose_rows_have_names_or_are_none_goes_alone(data: Any) -> None:
    assert merge_key(data, None) is None


@pytest.mark.parametrize("predictions", ["ab", {"a": 1}, np.array(3.0), [1], np.zeros(3)], ids=repr)
def test_predictions_that_are_not_one_for_each_row_do_not_come_apart(predictions: Any) -> None:
    assert split(predictions, [1, 1]) is None


@pytest.mark.parametrize(
    ("one", "other", "alike"),
    [
        (np.array([1.0, np.nan]), np.array([1.0 + 1e-13, np.nan]), True),
        (np.array([1.0]), np.array([1.001]), False),
        (np.array([1]), np.array([1.0]), False),
        (["a", "b"], ["a", "b"], True),
        (pd.DataFrame({"p": [1.0]}), pd.DataFrame({"q": [1.0]}), False),
        ("a", ["a"], False),
        ({"a": 1}, [{"a": 1}], False),
    ],
    ids=["rounding", "another number", "another type", "texts", "another column", "one text in a list", "one object"],
)
def test_predictions_are_the_same_but_for_rounding(one: Any, other: Any, alike: bool) -> None:
    assert same(one, other) is alike


def test_cost_grows_linearly_and_follows_new_times() -> None:
    cost = CallCost()
    assert not cost.is_cheap(1)
    for rows in (1, 16, 64):
        cost.observe(rows, 0.0002 + 0.00001 * rows)
    assert cost.of(32) == pytest.approx(0.00052)
    assert cost.is_cheap(64)
    assert not cost.is_cheap(10_000)

    for _ in range(300):
        cost.observe(1, 2 * CHEAP)
    assert not cost.is_cheap(1)


def test_cost_of_rows_that_were_never_seen_is_no_less_than_in_proportion() -> None:
    cost = CallCost()
    cost.observe(2, 0.001)

    assert cost.of(20) == pytest.approx(0.01)
    assert cost.of(1) == pytest.approx(0.001)


def test_stopwatch_tells_both_times() -> None:
    watch = Stopwatch()
    sum(range(100_000))
    watch.stop()

    assert 0 < watch.cost <= watch.seconds


def test_frame_with_a_name_that_comes_twice_is_varied_in_both_columns() -> None:
    frame = pd.DataFrame([[1.0, "x", 2]], columns=["a", "b", "a"])
    other = varied(frame)

    assert [list(other.columns), other.iloc[0].tolist()] == [["a", "b", "a"], [2.25, "x", 3]]
    assert frame.iloc[0].tolist() == [1.0, "x", 2]


@pytest.mark.parametrize(
    ("data", "other"),
    [
        ({"a": ["x", None], "b": [b"y", b"z"]}, {"a": ["x x", None], "b": [b"y", b"z"]}),
        ({"a": pd.to_datetime(["2024-01-31", None])}, {"a": pd.to_datetime(["2024-02-01", None])}),
    ],
    ids=["texts", "times"],
)
def test_texts_and_times_of_a_frame_are_varied(data: Any, other: Any) -> None:
    pd.testing.assert_frame_equal(varied(pd.DataFrame(data), texts=True), pd.DataFrame(other))


@pytest.mark.parametrize(
    ("data", "other"),
    [
        (np.array(["x", "yy"]), ["x x", "yy x"]),
        (np.array([["x", 1, None]], dtype=object), [["x x", "1", "None"]]),
        (np.array(["2024-01", "NaT"], dtype="datetime64[s]"), ["2024-01-02T00:00:00", "NaT"]),
    ],
    ids=["texts", "objects", "times"],
)
def test_texts_and_times_of_an_array_are_varied(data: Any, other: Any) -> None:
    changed = varied({"a": data}, texts=True)["a"]

    assert (changed.dtype.kind, changed.astype(str).tolist()) == (data.dtype.kind, other)
