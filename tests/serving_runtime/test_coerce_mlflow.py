"""`--coerce mlflow`: the answers of MLflow 3.17, right or wrong, but for its bugs that are always mended."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from serving_runtime.errors import ServingError
from serving_runtime.input.mlflow_casts import mlflow_conformer
from serving_runtime.model import Model
from serving_runtime.options import Coerce
from serving_runtime.protocols.interface import Message, Prediction, ServedModel
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS

JSON = "application/json"
CSV = "text/csv"


def records(**row: Any) -> dict[str, Any]:
    return {"dataframe_records": [{"id": 1, **row}]}


# The sentence is the test's name; model, and body as an object (JSON) or a text (CSV). MLflow is asked the same.
SAME: dict[str, tuple[str, Any]] = {
    "a whole number written as a float": ("one-long", {"dataframe_records": [{"x": 1.0}]}),
    "a fraction is cut": ("one-long", {"dataframe_records": [{"x": 1.5}]}),
    "a fraction is cut in inputs": ("one-long", {"inputs": {"x": [1.5, -2.5]}}),
    "a text becomes a number": ("one-long", {"dataframe_records": [{"x": "7"}]}),
    "a text that is no number": ("one-long", {"dataframe_records": [{"x": "seven"}]}),
    "null among whole numbers": ("one-long", {"dataframe_records": [{"x": None}]}),
    "a number is wrapped into 32 bits": ("optional", records(integer=3_000_000_000)),
    "a number beyond single precision": ("optional", records(float=1e300)),
    "a whole number for a double": ("two-doubles", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, 2]]}}),
    "a large whole number for a double": (
        "two-doubles",
        {"dataframe_split": {"columns": ["a", "b"], "data": [[2**53 + 1, 2]]}},
    ),
    "a text for a double": ("two-doubles", {"dataframe_split": {"columns": ["a", "b"], "data": [["a", 2]]}}),
    "a text for a boolean": ("optional", records(boolean="no")),
    "null for an optional boolean": ("optional", records(boolean=None)),
    "a number for a text": ("optional", records(string=5)),
    "null for a text": ("optional", records(string=None)),
    "a date": ("optional", records(datetime="2024-01-01")),
    "a time with a zone": ("optional", records(datetime="2024-01-01T00:00:00Z")),
    "no time": ("optional", records(datetime="zz")),
    "base64": ("optional", records(binary="AQID")),
    "no base64": ("optional", records(binary="@@")),
    "a column too many": ("two-doubles", {"dataframe_records": [{"a": 1.5, "b": 2.5, "c": 3}]}),
    "a column too few": ("two-doubles", {"dataframe_records": [{"a": 1.5}]}),
    "no rows": ("two-doubles", {"dataframe_split": {"columns": ["a", "b"], "data": []}}),
    "rows with other keys": ("optional", {"dataframe_records": [{"id": 1, "string": "a"}, {"id": 2, "double": 1.5}]}),
    "an index": ("one-double", {"dataframe_split": {"columns": ["x"], "index": ["p", "q"], "data": [[0.5], [1.5]]}}),
    "columns without names": ("unnamed", {"dataframe_split": {"data": [[0.5, 1], [1.5, 2.5]]}}),
    "one value": ("one-unnamed", {"inputs": "a"}),
    "an array of doubles": ("array", {"dataframe_records": [{"values": [0.5, 1.5]}]}),
    "whole numbers in an array of doubles": ("array", {"dataframe_records": [{"values": [1, 2]}]}),
    "an array as inputs": ("array", {"inputs": {"values": [0.5]}}),
    "an object": ("nested", {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": {"name": "a", "age": 1}}]}),
    "an object that lacks a property": (
        "nested",
        {"dataframe_records": [{"id": 1, "matrix": [[1]], "person": {"name": "a"}}]},
    ),
    "a map": ("map", {"dataframe_records": [{"counts": {"a": 1}}]}),
    "a tensor": ("tensor", {"inputs": [[1, 2, 3]]}),
    "a tensor of another shape": ("tensor", {"inputs": [[1, 2]]}),
    "fractions in a tensor of whole numbers": ("tensors", {"inputs": {"ids": [[1.5, 2]], "mask": [True]}}),
    "tensors as instances": ("tensors", {"instances": [{"ids": [1, 2], "mask": True}]}),
    "no signature": ("free", {"dataframe_split": {"columns": ["a", "b"], "data": [[1, "x"], [2, None]]}}),
    "no signature, inputs": ("free", {"inputs": {"a": [1, 2], "b": [[1.5], [2.5]]}}),
    "parameters": ("params", {"inputs": {"x": [1]}, "params": {"k": 5, "scale": 2, "stop": ["a"]}}),
    "a parameter of another type": ("params", {"inputs": {"x": [1]}, "params": {"k": "a"}}),
    "messages of a chat": ("free", {"messages": [{"role": "user", "content": "hi"}]}),
    "a type hint": ("hinted", {"inputs": [1, 2, 3]}),
    "CSV": ("two-doubles", "a,b\n1,2\n3,\n"),
    "a fraction in CSV": ("one-long", "x\n1.5\n"),
    "a text in CSV": ("optional", "id,string\n1,7\n"),
    "CSV without a signature": ("free", "a,b\n1,x\n"),
    "bytes in an answer": ("chosen", {"inputs": ["[b'abc']"]}),
    "times of an array in an answer": ("chosen", {"inputs": ["np.array(['2024-01-31'], dtype='datetime64[ns]')"]}),
    "times of a frame in an answer": ("chosen", {"inputs": ["pd.DataFrame({'t': pd.to_datetime(['2024-01-31'])})"]}),
    "not exactly one key": ("one-long", {"inputs": [1], "instances": [1]}),
}  # fmt: skip  one line for each

# What is mended in both ways to coerce: model, body, MLflow's status, and ours.
MENDED: dict[str, tuple[str, Any, int, int]] = {
    "a time is read from CSV": ("optional", "id,datetime\n1,2024-01-31\n", 400, 200),
    "a table that brings messages along is a table": (
        "one-long",
        {"dataframe_records": [{"x": 1}], "messages": []},
        400,
        200,
    ),
    "a decimal is an answer": ("chosen", {"inputs": ["decimal.Decimal('0.10')"]}, 500, 200),
    "a set is an answer": ("chosen", {"inputs": ["[{1}]"]}, 500, 200),
}


def request_of(case: tuple[str, Any]) -> tuple[str, str, str]:
    name, body = case
    return (name, CSV, body) if isinstance(body, str) else (name, JSON, json.dumps(body))


@pytest.fixture(scope="module")
def theirs(ask_mlflow: Callable[[tuple[str, str, str]], dict[str, Any]]) -> dict[str, dict[str, Any]]:
    cases = SAME | {sentence: (name, body) for sentence, (name, body, _, _) in MENDED.items()}
    return {sentence: ask_mlflow(request_of(case)) for sentence, case in cases.items()}


def ours(model: Model, content_type: str, body: str) -> dict[str, Any]:
    conform = mlflow_conformer(model.path, model.metadata.signature)
    served = ServedModel(name="m", version=None, metadata=model.metadata, conform=conform, coerce=Coerce.MLFLOW)
    try:
        inputs = INVOCATIONS.read(
            Message(body=body.encode(), headers={b"content-type": content_type.encode()}, path={}), served
        )
        prediction = Prediction(value=model.predict_conformed(inputs.data, inputs.params), seconds=0)
        answer = inputs.write(prediction, served)
    except ServingError as error:
        return {"status": error.status, "error": error}
    return {"status": answer.status, "body": json.loads(answer.body)}


@pytest.mark.parametrize("sentence", SAME)
def test_the_answer_is_that_of_mlflow(
    sentence: str, model: Callable[[str], Model], theirs: dict[str, dict[str, Any]]
) -> None:
    name, content_type, body = request_of(SAME[sentence])
    expected, answered = theirs[sentence], ours(model(name), content_type, body)

    assert answered["status"] == expected["status"]
    if expected["status"] == 200:
        assert answered["body"] == json.loads(json.dumps(expected["body"]), parse_constant=lambda _: None)


@pytest.mark.parametrize("sentence", MENDED)
def test_a_bug_of_mlflow_is_mended(
    sentence: str, model: Callable[[str], Model], theirs: dict[str, dict[str, Any]]
) -> None:
    name, body, status, mended = MENDED[sentence]
    _, content_type, text = request_of((name, body))

    assert theirs[sentence]["status"] == status
    assert ours(model(name), content_type, text)["status"] == mended


def test_a_cast_that_fails_is_reported_without_the_value(model: Callable[[str], Model]) -> None:
    error = ours(model("one-long"), JSON, json.dumps({"dataframe_records": [{"x": "s3cret"}]}))["error"]

    assert error.details == [{"path": "dataframe_records", "problem": 'MLflow cannot cast the column "x" to its type'}]
    assert "s3cret" not in error.message


@pytest.mark.parametrize("params", [{"k": "s3cret"}, {"stop": ["a", ["s3cret"]]}])
def test_a_parameter_that_mlflow_refuses_is_reported_without_its_value(
    params: dict[str, Any], model: Callable[[str], Model]
) -> None:
    body = json.dumps({"inputs": {"x": [1]}, "params": params})
    error = ours(model("params"), JSON, body)["error"]

    problem = "MLflow cannot take a parameter as the type that the model's signature has"
    assert (error.status, error.details) == (400, [{"path": "params", "problem": problem}])
    assert "s3cret" not in error.message
