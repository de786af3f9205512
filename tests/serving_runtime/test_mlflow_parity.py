"""Every sane request gets the answer of MLflow's own scoring server, to the types that the model sees."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from serving_runtime.errors import ServingError
from serving_runtime.model import Model
from testbed.runtime_core import answer

JSON = "application/json"
CSV = "text/csv"
ROW = {
    "boolean": True,
    "integer": 1,
    "long": 2,
    "float": 0.5,
    "double": 1.5,
    "string": "a",
    "binary": "AQID",
    "datetime": "2024-01-31T12:00:00",
}
WINE = {"columns": ["fixed acidity", "pH", "alcohol"], "data": [[7.4, 3.51, 9.4], [7.8, 3.2, 9.8]]}
PERSON = {"name": "Ada", "age": 36}

# The sentence is the test's name; model, and body as an object (JSON) or a text (CSV).
SAME: dict[str, tuple[str, Any]] = {
    "wine as split": ("wine", {"dataframe_split": WINE}),
    "wine as records": (
        "wine",
        {"dataframe_records": [dict(zip(WINE["columns"], row, strict=True)) for row in WINE["data"]]},
    ),
    "wine as inputs by column": (
        "wine",
        {"inputs": {name: [row[i] for row in WINE["data"]] for i, name in enumerate(WINE["columns"])}},
    ),
    "wine as instances": (
        "wine",
        {"instances": [dict(zip(WINE["columns"], row, strict=True)) for row in WINE["data"]]},
    ),
    "wine as CSV": ("wine", "fixed acidity,pH,alcohol\n7.4,3.51,9.4\n7.8,3.2,9.8\n"),
    "columns in another order": (
        "wine",
        {"dataframe_split": {"columns": ["alcohol", "pH", "fixed acidity"], "data": [[9.4, 3.51, 7.4]]}},
    ),
    "a column too many": ("two-doubles", {"dataframe_records": [{"a": 1.5, "b": 2.5, "c": 3}]}),
    "every type as split": ("scalars", {"dataframe_split": {"columns": list(ROW), "data": [list(ROW.values())] * 2}}),
    "every type as records": ("scalars", {"dataframe_records": [ROW, ROW]}),
    "whole numbers for doubles": (
        "two-doubles",
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3, 4]]}},
    ),
    "a whole number written as a float": ("one-long", {"dataframe_records": [{"x": 1.0}]}),
    "null among doubles": (
        "two-doubles",
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1.5, None], [2.5, 3.5]]}},
    ),
    "null among texts": ("optional", {"dataframe_records": [{"id": 1, "string": "a"}, {"id": 2, "string": None}]}),
    "optional columns left out": ("optional", {"dataframe_records": [{"id": 1}]}),
    "a row that lacks an optional double": ("optional", {"dataframe_records": [{"id": 1, "double": 0.5}, {"id": 2}]}),
    "an optional time that is null": (
        "optional",
        {"dataframe_records": [{"id": 1, "datetime": "2024-01-31"}, {"id": 2, "datetime": None}]},
    ),
    "an index": ("one-double", {"dataframe_split": {"columns": ["x"], "index": ["p", "q"], "data": [[0.5], [1.5]]}}),
    "one column without brackets": ("one-double", {"dataframe_split": {"columns": ["x"], "data": [0.5, 1.5]}}),
    "no rows": ("two-doubles", {"dataframe_split": {"columns": ["a", "b"], "data": []}}),
    "one column as a list": ("one-double", {"inputs": [0.5, 1.5]}),
    "one column as a list of instances": ("one-double", {"instances": [0.5, 1.5]}),
    "one row of scalars": ("two-doubles", {"inputs": {"a": 0.5, "b": 1.5}}),
    "inputs as a list of objects": ("two-doubles", {"inputs": [{"a": 0.5, "b": 1.5}, {"a": 2.5, "b": 3.5}]}),
    "unnamed columns as split": ("unnamed", {"dataframe_split": {"data": [[0.5, 1], [1.5, 2]]}}),
    "unnamed columns with names": ("unnamed", {"dataframe_split": {"columns": ["a", "b"], "data": [[0.5, 1]]}}),
    "one unnamed column as a list": ("one-unnamed", {"inputs": ["a", "b"]}),
    "one unnamed column as one value": ("one-unnamed", {"inputs": "a"}),
    "an array column as records": ("array", {"dataframe_records": [{"values": [0.5, 1.5]}, {"values": [2.5]}]}),
    "an array of arrays and an object": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1, 2], [3]], "person": PERSON}]},
    ),
    "an optional property of an object": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": PERSON | {"mail": "a@b.c"}}]},
    ),
    "properties in another order": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": {"age": 36, "name": "Ada"}}]},
    ),
    "all properties in another order": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": {"mail": "a@b.c", "age": 36, "name": "Ada"}}]},
    ),
    "a map": ("map", {"dataframe_records": [{"counts": {"a": 1, "b": 2}}]}),
    "a value of any type": ("map", {"dataframe_records": [{"counts": {}, "anything": {"deep": [1, "a", None]}}]}),
    "a tensor as inputs": ("tensor", {"inputs": [[1.5, 2.5, 3.5], [4, 5, 6]]}),
    "a tensor as instances": ("tensor", {"instances": [[1.5, 2.5, 3.5]]}),
    "a tensor as a frame": ("tensor", {"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1.5, 2.5, 3.5]]}}),
    "an image": ("image", {"inputs": [[[0.5, 1.5], [2.5, 3.5]]]}),
    "an image as flat cells of a frame": (
        "image",
        {"dataframe_records": [{"pixels": [0.5, 1.5, 2.5, 3.5]}, {"pixels": [1, 2, 3, 4]}]},
    ),
    "a tensor of texts": ("texts", {"inputs": ["a", "bc"]}),
    "tensors by name": ("tensors", {"inputs": {"ids": [[1, 2]], "mask": [True]}}),
    "tensors as instances": ("tensors", {"instances": [{"ids": [1, 2], "mask": True}, {"ids": [3, 4], "mask": False}]}),
    "tensors as a frame": (
        "tensors",
        {"dataframe_records": [{"ids": [1, 2], "mask": True}, {"ids": [3, 4], "mask": False}]},
    ),
    "no signature, split": ("free", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, "y"]]}}),
    "no signature, records": ("free", {"dataframe_records": [{"a": 1.5, "b": True}]}),
    "no signature, inputs by name": ("free", {"inputs": {"a": [1, 2], "b": [[1.5], [2.5]]}}),
    "no signature, inputs as a list": ("free", {"inputs": [[1, 2], [3, 4]]}),
    "no signature, inputs as objects": ("free", {"inputs": [{"a": 1}, {"a": 2}]}),
    "no signature, instances as objects": ("free", {"instances": [{"a": 1, "b": [1, 2]}, {"a": 2, "b": [3, 4]}]}),
    "no signature, CSV": ("free", "a,b\n1,x\n2,y\n"),
    "no parameters": ("params", {"inputs": {"x": [1]}}),
    "some parameters": ("params", {"inputs": {"x": [1]}, "params": {"k": 5, "scale": 2, "stop": ["a", "b"]}}),
    "a parameter that nobody knows": ("params", {"inputs": {"x": [1]}, "params": {"other": 1}}),
    "parameters for a model without": ("one-long", {"inputs": {"x": [1]}, "params": {"k": 1}}),
    "messages of a chat": ("free", {"messages": [{"role": "user", "content": "hi"}], "temperature": 0.5}),
    "a type hint": ("hinted", {"inputs": [1, 2, 3]}),
    "predictions in a frame": ("chosen", {"inputs": ["pd.DataFrame({'a': [1, 2], 'b': ['x', 'y']})"]}),
    "predictions in a series": ("chosen", {"inputs": ["pd.Series([0.5, 1.5], name='p')"]}),
    "predictions in a series without a name": ("chosen", {"inputs": ["pd.Series([0.5, 1.5])"]}),
    "predictions of 32 bits": ("chosen", {"inputs": ["np.array([[0.1, 0.2]], dtype='float32')"]}),
    "predictions in objects": ("chosen", {"inputs": ["[{'a': np.float64(0.5), 'b': [np.int64(1)]}]"]}),
    "predictions of times in a frame": ("chosen", {"inputs": ["pd.DataFrame({'t': pd.to_datetime(['2024-01-31'])})"]}),
}

# Where the answer is another one, and why. MLflow's is here too, so that a change of MLflow's is noticed.
DIFFERENT: dict[str, tuple[str, Any, Any, Any]] = {
    "a list is a list in a cell, however it came": (
        "array",
        {"inputs": {"values": [0.5]}},
        ["values", "object", [{"array": "float64", "shape": [1], "values": ["float 0.5"]}]],
        ["values", "object", [["float 0.5"]]],
    ),
    "a text has the type from CSV that it has from JSON": (
        "optional",
        "id,string\n1,a\n",
        ["string", "object", ["str 'a'"]],
        ["string", "str", ["str 'a'"]],
    ),
    "a time with an offset is the same moment in UTC": (
        "optional",
        {"dataframe_records": [{"id": 1, "datetime": "2024-01-31T12:00:00+02:00"}]},
        400,
        ["datetime", "datetime64[ns]", ["Timestamp Timestamp('2024-01-31 10:00:00')"]],
    ),
    "a time is read from CSV": (
        "optional",
        "id,datetime\n1,2024-01-31\n",
        400,
        ["datetime", "datetime64[ns]", ["Timestamp Timestamp('2024-01-31 00:00:00')"]],
    ),
    "whole numbers do for an array of doubles": (
        "array",
        {"dataframe_records": [{"values": [1, 2]}]},
        400,
        ["values", "object", [["float 1.0", "float 2.0"]]],
    ),
    "a fraction is not cut": ("one-long", {"inputs": {"x": [1.5]}}, ["x", "int64", ["int 1"]], 400),
    "a text is no number": ("one-long", {"dataframe_records": [{"x": "7"}]}, ["x", "int64", ["int 7"]], 400),
    "a number that 32 bits do not hold is not wrapped": (
        "optional",
        {"dataframe_records": [{"id": 1, "integer": 3_000_000_000}]},
        ["integer", "int32", ["int -1294967296"]],
        400,
    ),
    "a number beyond single precision is not infinite": (
        "optional",
        {"dataframe_records": [{"id": 1, "float": 1e300}]},
        ["float", "float32", ["float inf"]],
        400,
    ),
    "a text is no boolean": (
        "optional",
        {"dataframe_records": [{"id": 1, "boolean": "no"}]},
        ["boolean", "bool", ["bool True"]],
        400,
    ),
    "a number is no text": ("one-unnamed", {"dataframe_split": {"data": [[5]]}}, ["0", "object", ["int 5"]], 400),
    "a list is no text": ("one-unnamed", {"dataframe_split": {"data": [[["a"]]]}}, ["0", "object", [["str 'a'"]]], 400),
    "a value beside lists is not repeated": (
        "two-doubles",
        {"inputs": {"a": [0.5, 1.5], "b": 2.5}},
        ["b", "float64", ["float 2.5", "float 2.5"]],
        400,
    ),
    "what is no base64 is not empty": (
        "optional",
        {"dataframe_records": [{"id": 1, "binary": "@@"}]},
        ["binary", "object", ["bytes b''"]],
        400,
    ),
    "a tensor's numbers are not cut": (
        "tensors",
        {"inputs": {"ids": [[1.5, 2]], "mask": [True]}},
        [["int 1", "int 2"]],
        400,
    ),
    "a table that brings messages along is a table": (
        "one-long",
        {"dataframe_records": [{"x": 1}], "messages": []},
        400,
        ["x", "int64", ["int 1"]],
    ),
}


def seen(answer: Any, name: str) -> Any:
    """Return the column or tensor of a case as the model saw it: the status if there was no answer."""
    if not isinstance(answer, dict):
        return answer
    given = answer["predictions"]["input"]
    if "frame" in given:
        return next((column for column in given["frame"] if column[0] == name), given["frame"])
    return [given["ids"]["values"]]


def request_of(case: tuple[str, Any]) -> tuple[str, str, str]:
    name, body = case
    return (name, CSV, body) if isinstance(body, str) else (name, JSON, json.dumps(body))


@pytest.fixture(scope="module")
def mlflow_answers(
    ask_mlflow: Callable[[tuple[str, str, str]], dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    """All answers by their sentences."""
    cases = SAME | {sentence: (name, body) for sentence, (name, body, _, _) in DIFFERENT.items()}
    return {sentence: ask_mlflow(request_of(case)) for sentence, case in cases.items()}


@pytest.mark.parametrize("sentence", SAME)
def test_a_sane_request_gets_the_answer_of_mlflow(
    sentence: str, model: Callable[[str], Model], mlflow_answers: dict[str, dict[str, Any]]
) -> None:
    name, content_type, body = request_of(SAME[sentence])
    expected = mlflow_answers[sentence]

    ours = json.loads(answer(model(name), body.encode(), content_type))
    assert {"status": 200, "body": ours} == expected
    assert json.dumps(ours) == json.dumps(expected["body"])  # members in the same order


@pytest.mark.parametrize("sentence", DIFFERENT)
def test_a_difference_to_mlflow_is_a_known_one(
    sentence: str, model: Callable[[str], Model], mlflow_answers: dict[str, dict[str, Any]]
) -> None:
    name, body, theirs, ours = DIFFERENT[sentence]
    _, content_type, text = request_of((name, body))
    column = next((expected[0] for expected in (theirs, ours) if isinstance(expected, list)), "")
    answered = mlflow_answers[sentence]

    assert (seen(answered["body"], column) if answered["status"] == 200 else answered["status"]) == theirs
    assert outcome(model(name), text, content_type, column) == ours


def outcome(model: Model, body: str, content_type: str, column: str) -> Any:
    try:
        return seen(json.loads(answer(model, body.encode(), content_type)), column)
    except ServingError as error:
        return error.status
