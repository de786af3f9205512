"""Refused input: the answer says where and why, without repeating the input."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from serving_runtime.errors import ServingError
from serving_runtime.model import Model
from testbed.runtime_core import answer

JSON = "application/json"
CSV = "text/csv"
PARQUET = "application/vnd.apache.parquet"
FORMATS = "dataframe_split, dataframe_records, instances, inputs"

MALFORMED: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"{", "the body is not JSON: Expecting property name enclosed in double quotes (line 1, column 2)"),
    "nothing": (b"", "the body is not JSON: Expecting value (line 1, column 1)"),
    "not UTF-8": (b'{"inputs": "\xff"}', "the body is not UTF-8 (at byte 12)"),
    "a list": (b"[1]", "the body must be a JSON object"),
    "a key twice": (b'{"inputs": {"x": 1, "x": 2}}', "an object in the body has a key that comes twice"),
    "infinity": (b'{"inputs": {"x": [-Infinity]}}', "the body holds -Infinity, which JSON does not have"),
    "a number beyond a double": (
        b'{"inputs": {"x": [1e400]}}',
        "the body holds a number beyond what a double can hold",
    ),
    "a number of a million digits": (
        b'{"inputs": {"x": [' + b"1" * 1_000_000 + b"]}}",
        "the body holds a number of too many digits",
    ),
    "ten million brackets": (b'{"inputs": ' + b"[" * 10_000_000, "the body is nested too deep"),
    "none of the keys": (
        b'{"data": [1]}',
        f"the body must have exactly one of the keys {FORMATS}; it has none of them",
    ),
    "two of the keys": (
        b'{"inputs": [1], "instances": [1]}',
        f"exactly one of the keys {FORMATS}; it has instances and inputs",
    ),
    "parameters in a list": (b'{"inputs": [1], "params": []}', "params must be an object"),
    "records that are an object": (b'{"dataframe_records": {"x": 1}}', "dataframe_records must be an array of objects"),
    "split without data": (
        b'{"dataframe_split": {"columns": ["x"]}}',
        "dataframe_split must be an object with the key data",
    ),
    "split with a key too many": (
        b'{"dataframe_split": {"data": [], "rows": 1}}',
        "dataframe_split must be an object with the key data",
    ),
    "columns that are no list": (
        b'{"dataframe_split": {"columns": "x", "data": []}}',
        "data, columns and index of dataframe_split must be arrays",
    ),
}


@pytest.mark.parametrize("sentence", MALFORMED)
def test_a_malformed_body_is_refused_with_its_fault(sentence: str, model: Callable[[str], Model]) -> None:
    body, message = MALFORMED[sentence]
    with pytest.raises(ServingError) as caught:
        answer(model("one-long"), body, JSON)

    assert (caught.value.status, caught.value.error_code) == (400, "BAD_REQUEST")
    assert message in caught.value.message


INVALID: dict[str, tuple[str, Any, str, str]] = {
    "a missing column": (
        "two-doubles",
        {"inputs": {"a": [1]}},
        "inputs",
        'the column "b" is missing, and the model requires it',
    ),
    "columns without names": (
        "two-doubles",
        {"dataframe_split": {"data": [[1, 2]]}},
        "dataframe_split",
        "have no names",
    ),
    "a name twice": (
        "one-long",
        {"dataframe_split": {"columns": ["x", "x"], "data": [[1, 2]]}},
        "dataframe_split.columns[1]",
        "comes twice",
    ),
    "a name that is none": (
        "one-long",
        {"dataframe_split": {"columns": [None], "data": [[1]]}},
        "dataframe_split.columns[0]",
        "null",
    ),
    "a short row": (
        "two-doubles",
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], [3]]}},
        "dataframe_split.data[1]",
        "1 values, where there are 2 columns",
    ),
    "a row that is no list": (
        "two-doubles",
        {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2], 3]}},
        "dataframe_split.data[1]",
        "a number, where a row must be an array",
    ),
    "an index of another length": (
        "one-long",
        {"dataframe_split": {"columns": ["x"], "index": [1, 2], "data": [[1]]}},
        "dataframe_split.index",
        "2 entries for 1 rows",
    ),
    "a record that is no object": (
        "one-long",
        {"dataframe_records": [{"x": 1}, 2]},
        "dataframe_records[1]",
        "a row must be an object",
    ),
    "null where there is no null": (
        "one-long",
        {"dataframe_records": [{"x": 1}, {"x": None}]},
        "dataframe_records[1].x",
        "null",
    ),
    "null among optional whole numbers": (
        "optional",
        {"dataframe_records": [{"id": 1, "integer": None}, {"id": 2, "integer": 3}]},
        "dataframe_records[0].integer",
        "null, where the model takes a whole number from -2147483648 to 2147483647",
    ),
    "a boolean for a number": (
        "one-double",
        {"inputs": {"x": [0.5, True]}},
        "inputs.x[1]",
        "a boolean, where the model takes a number",
    ),
    "a number for a boolean": (
        "optional",
        {"inputs": {"id": 1, "boolean": 1}},
        "inputs.boolean",
        "a number, where the model takes true or false",
    ),
    "a text for a number": (
        "wine",
        {"dataframe_split": {"columns": ["fixed acidity", "pH", "alcohol"], "data": [[1, "sour", 3]]}},
        "dataframe_split.data[0][1]",
        "a string, where the model takes a number",
    ),
    "a name with a space": (
        "wine",
        {"dataframe_records": [{"fixed acidity": "low", "pH": 3, "alcohol": 9}]},
        'dataframe_records[0]["fixed acidity"]',
        "a string",
    ),
    "a whole number that doubles round": (
        "one-double",
        {"inputs": {"x": [2**53 + 1]}},
        "inputs.x[0]",
        "a whole number that float64 would round",
    ),
    "a number beyond 64 bits": ("one-long", {"inputs": {"x": [2**63]}}, "inputs.x[0]", "out of range"),
    "a number as a time": (
        "optional",
        {"inputs": {"id": 1, "datetime": 1706702400}},
        "inputs.datetime",
        "a date or time as a string",
    ),
    "a month that does not exist": (
        "optional",
        {"inputs": {"id": 1, "datetime": "2024-13-01"}},
        "inputs.datetime",
        "no date or time",
    ),
    "a time beyond nanoseconds": (
        "optional",
        {"inputs": {"id": 1, "datetime": "9999-01-01"}},
        "inputs.datetime",
        "out of range",
    ),
    "bytes without padding": (
        "optional",
        {"inputs": {"id": 1, "binary": "AQI"}},
        "inputs.binary",
        "no base64 with padding",
    ),
    "columns of different lengths": ("two-doubles", {"inputs": {"a": [1], "b": [1, 2]}}, "inputs", "a has 1, b has 2"),
    "a value beside lists": (
        "two-doubles",
        {"inputs": {"a": [1], "b": 2}},
        "inputs",
        'the column "b" has one value where others have a list',
    ),
    "a value of no name beside lists": (
        "two-doubles",
        {"inputs": {"": 1, "b": [2]}},
        "inputs",
        'the column "" has one value where others',
    ),
    "rows for named columns": ("two-doubles", {"inputs": [[1, 2]]}, "inputs", "by name"),
    "an object for columns without names": ("unnamed", {"inputs": {"a": [1]}}, "inputs", "send a list of rows"),
    "too few columns without names": (
        "unnamed",
        {"dataframe_split": {"data": [[1]]}},
        "dataframe_split",
        "1 columns, where the model takes 2",
    ),
    "a fault within an array": (
        "array",
        {"dataframe_records": [{"values": [1, "a"]}]},
        "dataframe_records[0].values[1]",
        "a string",
    ),
    "no array": (
        "array",
        {"dataframe_records": [{"values": 1}]},
        "dataframe_records[0].values",
        "a number, where the model takes an array",
    ),
    "a fault deep within": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1], [2, 2.5]], "person": {"name": "a", "age": 1}}]},
        "dataframe_records[0].matrix[1][1]",
        "has a fraction",
    ),
    "a property too few": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": {"name": "a"}}]},
        "dataframe_records[0].person.age",
        "missing, and the model requires it",
    ),
    "a property too many": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": {"name": "a", "age": 1, "x y": 1}}]},
        'dataframe_records[0].person["x y"]',
        "the model's signature has no such property",
    ),
    "a fault within a map": (
        "map",
        {"dataframe_records": [{"counts": {"a": 0.5}}]},
        "dataframe_records[0].counts.a",
        "has a fraction",
    ),
    "a tensor of another shape": (
        "tensor",
        {"inputs": [[1, 2]]},
        "inputs",
        "an array of shape [1, 2], where the model takes [-1, 3]",
    ),
    "an object for a tensor": (
        "tensor",
        {"inputs": {"x": [[1, 2, 3]]}},
        "inputs",
        "an object, where the model takes an array of shape [-1, 3]",
    ),
    "a ragged tensor": (
        "tensor",
        {"inputs": [[1, 2, 3], [1, 2]]},
        "inputs[1]",
        "of another length than its neighbours",
    ),
    "a text in a tensor": (
        "tensor",
        {"inputs": [[1, 2, 3], [1, "a", 3]]},
        "inputs[1][1]",
        "a string, where the model takes a number",
    ),
    "a tensor too few": ("tensors", {"inputs": {"ids": [[1, 2]]}}, "inputs", 'the tensor "mask" is missing'),
    "a tensor for several": ("tensors", {"inputs": [[1, 2]]}, "inputs", "by name: send an object of them"),
    "null in a tensor of texts": (
        "texts",
        {"inputs": ["a", None]},
        "inputs[1]",
        "null, where the model takes a string",
    ),
    "a ragged array for no signature": ("free", {"inputs": [[1], [1, 2]]}, "inputs[1]", "of another length"),
    "a list for a type hint that takes whole numbers": (
        "hinted",
        {"inputs": ["a"]},
        "inputs[0]",
        "a string, where the model takes a whole number",
    ),
    "a parameter of another type": ("params", {"inputs": {"x": [1]}, "params": {"k": "a"}}, "params.k", "a string"),
    "a parameter that is no list": (
        "params",
        {"inputs": {"x": [1]}, "params": {"stop": "a"}},
        "params.stop",
        "where the model takes an array",
    ),
}


@pytest.mark.parametrize("sentence", INVALID)
def test_an_input_that_does_not_fit_is_refused_with_its_place(sentence: str, model: Callable[[str], Model]) -> None:
    name, body, path, problem = INVALID[sentence]
    with pytest.raises(ServingError) as caught:
        answer(model(name), json.dumps(body).encode(), JSON)

    assert (caught.value.status, caught.value.error_code) == (400, "INVALID_PARAMETER_VALUE")
    assert caught.value.details[0]["path"] == path
    assert problem in caught.value.details[0]["problem"]


def faults(model: Model, body: Any, content_type: str = JSON) -> list[dict[str, str]]:
    with pytest.raises(ServingError) as caught:
        answer(model, body if isinstance(body, bytes) else json.dumps(body).encode(), content_type)
    return caught.value.details


EVERY: dict[str, tuple[str, Any, list[str]]] = {
    "cells of one column": (
        "one-long",
        {"inputs": {"x": ["a", 1, 2.5, None]}},
        ["inputs.x[0]", "inputs.x[2]", "inputs.x[3]"],
    ),
    "cells of several columns": (
        "two-doubles",
        {"inputs": {"a": ["x", 1], "b": [True, "y"]}},
        ["inputs.a[0]", "inputs.b[0]", "inputs.b[1]"],
    ),
    "a column that is missing, and cells": (
        "two-doubles",
        {"dataframe_records": [{"a": "x"}]},
        ["dataframe_records", "dataframe_records[0].a"],
    ),
    "columns and parameters": (
        "params",
        {"inputs": {"x": ["a"]}, "params": {"k": "b", "stop": ["c", 1, 2]}},
        ["inputs.x[0]", "params.k", "params.stop[1]", "params.stop[2]"],
    ),
    "places within objects and arrays": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1.5], 2], "person": {"age": "old", "x": 1}}]},
        [
            "dataframe_records[0].matrix[0][0]",
            "dataframe_records[0].matrix[1]",
            "dataframe_records[0].person.name",
            "dataframe_records[0].person.x",
            "dataframe_records[0].person.age",
        ],
    ),
    "tensors": (
        "tensors",
        {"inputs": {"ids": [["a", 1], [2, 1.5]], "mask": [True, 1]}},
        ["inputs.ids[0][0]", "inputs.ids[1][1]", "inputs.mask[1]"],
    ),
    "a tensor that is missing, and another": ("tensors", {"inputs": {"mask": [1]}}, ["inputs", "inputs.mask[0]"]),
}  # fmt: skip  one line for each


@pytest.mark.parametrize("sentence", EVERY)
def test_every_fault_of_a_request_is_reported_at_once(sentence: str, model: Callable[[str], Model]) -> None:
    name, body, paths = EVERY[sentence]

    assert [fault["path"] for fault in faults(model(name), body)] == paths


def test_every_fault_of_a_csv_body_is_reported_at_once(model: Callable[[str], Model]) -> None:
    told = faults(model("two-doubles"), b"a,b\n1,x\ny,2\nz,inf\n", CSV)

    assert [fault["path"] for fault in told] == ['csv[1]["a"]', 'csv[2]["a"]', 'csv[0]["b"]', 'csv[2]["b"]']


def test_a_fault_says_what_was_expected_and_what_kind_came(model: Callable[[str], Model]) -> None:
    assert faults(model("one-double"), b'{"inputs": {"x": ["s3cret"]}}') == [
        {
            "path": "inputs.x[0]",
            "problem": "a string, where the model takes a number",
            "expected": "a number",
            "got": "a string",
        }
    ]


@pytest.mark.parametrize(
    "body", [{"dataframe_records": [1] * 1000}, {"inputs": {"x": ["a"] * 1000}}], ids=["rows", "cells"]
)
def test_of_a_thousand_faults_the_answer_has_twenty(body: Any, model: Callable[[str], Model]) -> None:
    with pytest.raises(ServingError) as caught:
        answer(model("one-long"), json.dumps(body).encode(), JSON)

    assert len(caught.value.details) == 20
    assert "(and at least " in caught.value.message


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        (None, 200),
        ("", 200),
        ("application/json", 200),
        ("Application/JSON; charset=UTF-8", 200),
        ('application/json; charset="utf-8"', 200),
        ("application/json;charset=utf8", 200),
        ("application/json; version=2", 200),
        ("application/json; charset=latin-1", 415),
        ("application/xml", 415),
        ("text/plain", 415),
        ("json", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/json\udcff", 415),
    ],
)
def test_a_content_type_is_read_as_its_standard_says(
    content_type: str | None, status: int, model: Callable[[str], Model]
) -> None:
    try:
        answer(model("one-long"), b'{"inputs": [1]}', content_type)
        answered = 200
    except ServingError as error:
        answered = error.status

    assert answered == status


@pytest.mark.parametrize(
    ("name", "body", "message"),
    [
        pytest.param("one-long", b"", "the CSV body is empty", id="empty"),
        pytest.param(
            "one-long", b"x\nseven\n", 'csv[0]["x"]: a string, where the model takes a whole number', id="no number"
        ),
        pytest.param(
            "one-double", b"x\n1_000\n", 'csv[0]["x"]: a string, where the model takes a number', id="an underscore"
        ),
        pytest.param("one-double", b"x\ninf\n", 'csv[0]["x"]', id="infinity"),
        pytest.param("one-long", b"x\n1.5\n", "has a fraction", id="a fraction"),
        pytest.param("two-doubles", b"a,b\n1,2\n3\n", "csv[1]: 1 values, where the header has 2", id="a short line"),
        pytest.param("two-doubles", b"a,a\n1,2\n", "a name that comes twice", id="a name twice"),
        pytest.param("one-long", b'x\n"1', "the body is no CSV", id="an open quote"),
        pytest.param("one-long", b"x\n\xff\n", "the body is not UTF-8", id="not UTF-8"),
        pytest.param(
            "optional",
            b"id,boolean\n1,maybe\n",
            'csv[0]["boolean"]: a string, where the model takes true or false',
            id="no boolean",
        ),
    ],
)
def test_a_wrong_csv_body_is_refused_with_its_fault(
    name: str, body: bytes, message: str, model: Callable[[str], Model]
) -> None:
    with pytest.raises(ServingError) as caught:
        answer(model(name), body, CSV)

    assert caught.value.status == 400
    assert message in caught.value.message


def test_a_body_that_is_no_parquet_file_is_refused(model: Callable[[str], Model]) -> None:
    with pytest.raises(ServingError) as caught:
        answer(model("one-long"), b"PAR1 and then nothing", PARQUET)

    assert caught.value.status == 400
    assert "no Parquet file" in caught.value.message


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        pytest.param(b"s3cret", JSON, id="no JSON"),
        pytest.param(b'"s3cret"', JSON, id="a text"),
        pytest.param(b'{"inputs": {"x": ["s3cret"]}}', JSON, id="in a column"),
        pytest.param(b'{"dataframe_split": {"columns": ["x"], "data": [["s3cret"]]}}', JSON, id="in a row"),
        pytest.param(b'{"dataframe_split": "s3cret"}', JSON, id="in place of a table"),
        pytest.param(b'{"inputs": [1], "params": "s3cret"}', JSON, id="in place of parameters"),
        pytest.param(b"x\ns3cret\n", CSV, id="in CSV"),
        pytest.param(b"s3cret", PARQUET, id="in place of Parquet"),
        pytest.param(b"{}", "s3cret/s3cret", id="in the content type"),
    ],
)
def test_a_refusal_never_holds_what_was_sent(body: bytes, content_type: str, model: Callable[[str], Model]) -> None:
    with pytest.raises(ServingError) as caught:
        answer(model("one-long"), body, content_type)

    assert "s3cret" not in caught.value.message + json.dumps(caught.value.details)
