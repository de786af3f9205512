"""Arrow's stream as a body and as an answer of `/invocations`, on a real server."""

import json
import os
import sys
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import ipc

from serving_runtime.errors import OutputError
from serving_runtime.options import Nan
from serving_runtime.tables.answers import arrow_answer
from testbed.processes import completed
from testbed.runtime_server import WITHOUT_PYARROW, RuntimeServer

ARROW = "application/vnd.apache.arrow.stream"
NAMES = ("fixed acidity", "pH", "alcohol")


def stream(table: pa.Table) -> bytes:
    written = pa.BufferOutputStream()
    with ipc.new_stream(written, table.schema) as writer:
        writer.write_table(table)
    return bytes(written.getvalue())


def rows(count: int) -> pa.Table:
    numbers = np.linspace(3, 9, count)
    return pa.table({name: numbers + place for place, name in enumerate(NAMES)})


def read(body: bytes) -> pa.Table:
    return ipc.open_stream(body).read_all()


def test_rows_in_arrow_are_predicted_as_rows_in_json(wine: RuntimeServer) -> None:
    table = rows(20)
    split = {"columns": list(NAMES), "data": [list(row.values()) for row in table.to_pylist()]}

    answer = wine.ask("POST", "/invocations", stream(table), {"Content-Type": ARROW})

    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    assert answer.document == wine.predict({"dataframe_split": split}).document


def test_answer_is_arrow_if_it_is_accepted(wine: RuntimeServer) -> None:
    plain = wine.ask("POST", "/invocations", stream(rows(20)), {"Content-Type": ARROW}).document

    for content, kind in ((stream(rows(20)), ARROW), (json.dumps({"dataframe_records": rows(20).to_pylist()}), "")):
        headers = {"Accept": f"{ARROW}, application/json;q=0.5"} | ({"Content-Type": kind} if kind else {})
        answer = wine.ask("POST", "/invocations", content, headers)

        assert (answer.status, answer.headers["content-type"]) == (200, ARROW)
        assert read(answer.body).to_pydict() == {"prediction": plain["predictions"]}


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (stream(rows(3).set_column(1, "pH", pa.array(["7", "8", "9"]))), 'arrow[0]["pH"]'),
        (stream(rows(3).drop_columns(["pH"])), "arrow"),
    ],
    ids=["a text", "a missing column"],
)
def test_refusal_of_a_stream_names_the_place_in_json(wine: RuntimeServer, body: bytes, place: str) -> None:
    answer = wine.ask("POST", "/invocations", body, {"Content-Type": ARROW, "Accept": ARROW})

    assert (answer.status, answer.headers["content-type"]) == (400, "application/json")
    assert answer.document["details"][0]["path"] == place


def test_cut_stream_is_refused(wine: RuntimeServer) -> None:
    answer = wine.ask("POST", "/invocations", stream(rows(3))[:-8], {"Content-Type": ARROW})

    assert answer.status == 400
    assert "close its writer" in answer.document["message"]


def test_document_lists_arrow(wine: RuntimeServer) -> None:
    operation = wine.get("/openapi.json").document["paths"]["/invocations"]["post"]

    assert ARROW in operation["requestBody"]["content"]
    assert ARROW in operation["responses"]["200"]["content"]


@pytest.mark.parametrize(
    ("call", "status"),
    [
        ("read_request(b'', 'application/vnd.apache.arrow.stream', Signature())", 415),
        ("answers_in_arrow(b'application/vnd.apache.arrow.stream, text/html')", 406),
    ],
    ids=["a body", "an answer"],
)
def test_without_pyarrow_the_extra_is_named(call: str, status: int) -> None:
    code = f"""
import sys
sys.modules["pyarrow"] = None
from serving_runtime.errors import ServingError
from serving_runtime.protocols.mlflow.request import answers_in_arrow, read_request
from serving_runtime.signature import Signature
try:
    {call}
except ServingError as error:
    print(error.status, error)
assert not answers_in_arrow(b"application/vnd.apache.arrow.stream, */*;q=0.1")
"""
    done = completed([sys.executable, "-c", code], env=os.environ, imported=WITHOUT_PYARROW)

    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{status} ")
    assert "install the extra tables" in done.stdout


@pytest.mark.parametrize(
    ("value", "columns"),
    [
        (np.array([1.5, 2.5]), {"prediction": [1.5, 2.5]}),
        (np.array([[1, 2], [3, 4]]), {"prediction_0": [1, 3], "prediction_1": [2, 4]}),
        (np.matrix([[1], [3]]), {"prediction_0": [1, 3]}),
        (["red", None], {"prediction": ["red", None]}),
        ([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}], {"a": [1, 2], "b": ["x", "y"]}),
        ({"a": np.array([1, 2]), "b": ["x", "y"]}, {"a": [1, 2], "b": ["x", "y"]}),
        ([[1, "x"], [2, "y"]], {"prediction_0": [1, 2], "prediction_1": ["x", "y"]}),
        (np.array([float("nan"), 1.0]), {"prediction": [None, 1.0]}),
    ],
)
def test_predictions_are_columns(value: Any, columns: dict[str, Any]) -> None:
    assert read(arrow_answer(value, 2, Nan.NULL)).to_pydict() == columns


@pytest.mark.parametrize("value", [3.5, "text", [1, "x"], [{"a": 1}, {"b": 1}], [2**70, 1]])
def test_predictions_that_are_no_columns_are_an_error(value: Any) -> None:
    with pytest.raises(OutputError, match="accept application/json"):
        arrow_answer(value, 2, Nan.NULL)


def test_numbers_of_more_digits_than_a_double_are_an_error() -> None:
    with pytest.raises(OutputError, match="more digits than a double"):
        arrow_answer(np.array([1.5, 2.5], np.longdouble), 2, Nan.NULL)


def test_nan_of_doubles_is_by_the_setting() -> None:
    value = np.array([float("inf"), 1.0])

    assert read(arrow_answer(value, 2, Nan.STRING)).column(0).to_pylist() == [float("inf"), 1.0]
    with pytest.raises(OutputError, match="NaN or infinity"):
        arrow_answer(value, 2, Nan.ERROR)
