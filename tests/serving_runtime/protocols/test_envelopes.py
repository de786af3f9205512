"""KServe's protocol V1, and the envelope of Domino's model APIs."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

Ask = Callable[[str], Any]
COLUMNS = {"a": [0.5, 1.5], "b": [1, 2]}
RECORDS = [{"a": 0.5, "b": 1}, {"a": 1.5, "b": 2}]
ONE = {"a": 0.5, "b": 1}


def predicted(ask: Ask, name: str, body: Any) -> Any:
    return json.loads(ask(name)("invocations", body).body)["predictions"]


@pytest.mark.parametrize(
    ("name", "body", "same"),
    [
        ("two-doubles", {"instances": RECORDS}, {"inputs": COLUMNS}),
        ("two-doubles", {"instances": [[0.5, 1], [1.5, 2]]}, {"inputs": COLUMNS}),
        ("two-doubles", {"inputs": COLUMNS}, {"inputs": COLUMNS}),
        ("two-doubles", {"inputs": [{"a": [0.5], "b": [1]}, {"b": [2], "a": [1.5]}]}, {"inputs": COLUMNS}),
        ("two-doubles", {"instances": [COLUMNS, {"a": [], "b": []}]}, {"inputs": COLUMNS}),
        ("one-double", {"instances": [0.5, 1.5]}, {"inputs": [0.5, 1.5]}),
        ("one-double", {"instances": [[0.5], [1.5]]}, {"inputs": [0.5, 1.5]}),
        ("array", {"instances": [[0.5], [1.5, 2]]}, {"inputs": [[0.5], [1.5, 2]]}),
        ("unnamed", {"instances": [[0.5, 1]]}, {"inputs": [[0.5, 1]]}),
        ("tensor", {"instances": [[1, 2, 3]]}, {"inputs": [[1, 2, 3]]}),
        ("params", {"instances": [1], "parameters": {"k": 7}}, {"inputs": [1], "params": {"k": 7}}),
        ("free", {"instances": [[1, 2]]}, {"inputs": [[1, 2]]}),
    ],
    ids=[
        "objects",
        "rows",
        "columns",
        "columns for each row",
        "columns for several rows",
        "one column",
        "rows of one column",
        "one column of lists",
        "columns without names",
        "a tensor",
        "parameters",
        "no signature",
    ],
)
def test_instances_are_read_as_by_mlflows_protocol(name: str, body: Any, same: Any, ask: Ask) -> None:
    answer = ask(name)("v1", body)

    assert json.loads(answer.body) == {"predictions": predicted(ask, name, same)}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'either "instances" or "inputs"'),
        ({"instances": [1], "inputs": [1]}, 'either "instances" or "inputs"'),
        ({"instances": [[1, 2], [3]]}, "instances[1]: 1 values, where there are 2 columns"),
        ({"instances": [[1, "x"]]}, "instances[0][1]: a string, where the model takes a number"),
        ({"inputs": [{"a": [1], "b": [1]}, {"a": [1, 2], "b": [1, "x"]}]}, "inputs[1].b[1]: a string"),
        (
            {"inputs": [{"a": [1], "b": [1]}, {"a": [1, 2], "b": [1]}]},
            "inputs[1]: the columns must have the same number",
        ),
        ({"instances": [1], "parameters": [1]}, "parameters must be an object"),
        ({"instances": [1], "parameters": {}, "params": {}}, 'only one of the keys "parameters" and "params"'),
    ],
    ids=[
        "neither",
        "both",
        "ragged rows",
        "a text",
        "a text in a column",
        "columns of different lengths",
        "parameters in a list",
        "parameters twice",
    ],
)
def test_wrong_input_by_v1_is_refused_in_its_shape(body: Any, message: str, ask: Ask) -> None:
    answer = ask("two-doubles")("v1", body)

    assert answer.status == 400
    assert message in json.loads(answer.body)["error"]


@pytest.mark.parametrize(
    ("body", "same"),
    [
        ({"data": ONE}, {"inputs": ONE}),
        ({"data": COLUMNS}, {"inputs": COLUMNS}),
        ({"data": {"vars": RECORDS}}, {"inputs": COLUMNS}),
        ({"parameters": [0.5, 1]}, {"inputs": ONE}),
        ({"parameters": [ONE]}, {"inputs": ONE}),
        ({"parameters": [{"dataframe_records": RECORDS}]}, {"inputs": COLUMNS}),
    ],
    ids=["one row", "columns", "records", "by position", "one object", "a body of MLflow's protocol"],
)
def test_dominos_envelope_predicts_the_same_as_invocations(body: Any, same: Any, ask: Ask) -> None:
    answer = json.loads(ask("two-doubles")("domino", body).body)

    assert answer["result"] == predicted(ask, "two-doubles", same)


def test_dominos_answer_has_the_members_that_its_clients_read(ask: Ask) -> None:
    answer = json.loads(ask("two-doubles")("domino", {"data": ONE}).body)

    assert set(answer) == {"model_time_in_ms", "release", "request_id", "result", "timing"}
    assert re.fullmatch("[A-Z0-9]{16}", answer["request_id"])
    assert (answer["model_time_in_ms"], answer["timing"]) == (1, 1.5)
    assert answer["release"] == {"harness_version": answer["release"]["harness_version"]} | {
        "registered_model_name": "m",
        "registered_model_version": "3",
    }


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, 'either "data", an object, or "parameters", an array'),
        ({"data": ONE, "parameters": [1]}, 'either "data", an object, or "parameters", an array'),
        ({"data": [1]}, "data must be an object"),
        ({"parameters": {"a": 1}}, "parameters must be an array"),
        ({"data": {"a": "x", "b": 1}}, "data.a: a string, where the model takes a number"),
        ({"parameters": [1, 2, 3]}, "parameters: 3 values, where the model takes a, b"),
    ],
)
def test_a_wrong_envelope_is_refused_with_the_reason(body: Any, message: str, ask: Ask) -> None:
    answer = ask("two-doubles")("domino", body)

    assert answer.status == 400
    assert message in json.loads(answer.body)["message"]
