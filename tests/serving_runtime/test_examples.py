"""Each kind of input example that MLflow stores, read as MLflow wrote it."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from serving_runtime.errors import InvalidInputError, MalformedRequestError, ServingError
from serving_runtime.example import example_problem
from serving_runtime.mlmodel import read_metadata
from serving_runtime.model import Model, load
from serving_runtime.observability.capture import CapturedPrediction
from serving_runtime.observability.capture_records import domino_records, jsonl_records
from serving_runtime.prediction.warm_up import predict_example, warm_up
from serving_runtime.protocols.mlflow.request import read_request
from serving_runtime.signature import Column, Scalar, Signature
from testbed.environments import saved_models

SCRIPTS = Path(__file__).parent / "scripts"
# MLflow's own server refuses these examples, or gives the model base64 in place of the bytes; reading them right is
# better.
BETTER = {
    "booleans-with-null",
    "bytes-in-lists",
    "bytes-with-null",
    "dict-of-lists",
    "list-of-bytes",
    "scalar-bytes",
    "times-in-lists",
    "names-of-tuples-free",
    "tensor-empty-free",
}
UNUSABLE = {"name-none", "names-twice", "tensor-empty"}  # MLflow's own server refuses these, or stores no such model
NOT_JSON = re.compile(rb"\b(NaN|Infinity)\b")
NUMBERS_FOR_TIMES = {"tensor-of-times-with-nat"}  # MLflow writes nanoseconds as numbers
Answers = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """The models of a version, loaded once, and the answers of MLflow's server to the examples stored with them."""

    directory: Path
    answers: Answers
    loaded: dict[str, Model] = field(default_factory=dict)

    def model(self, name: str) -> Model:
        if name not in self.loaded:
            self.loaded[name] = load(self.directory / name)
        return self.loaded[name]


@pytest.fixture(scope="module", params=["3.17", "2.22"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Saved:
    target = tmp_path_factory.mktemp(f"examples-{request.param}")
    directory = saved_models(request.param, SCRIPTS / "save_examples.py", target)
    answers: Answers = json.loads((directory / "answers.json").read_text())
    return Saved(directory=directory, answers=answers)


def test_every_example_that_mlflow_serves_reaches_the_model_as_mlflow_gives_it(saved: Saved) -> None:
    wrong = {}
    for name, answer in saved.answers.items():
        model = saved.model(name)
        example = model.example()
        if example is None or name in BETTER or answer["status"] != 200 or "predictions" not in answer["body"]:
            continue
        if (found := model.predict_conformed(example.data, example.params)) != answer["body"]["predictions"]:
            wrong[name] = (found, answer["body"]["predictions"])

    assert len(saved.answers) > 120
    assert wrong == {}


def test_every_example_that_is_json_can_be_sent_as_mlflow_wrote_it(saved: Saved) -> None:
    wrong = {}
    for name in saved.answers:
        model = saved.model(name)
        example = model.example()
        body = (saved.directory / name / str(model.metadata.serving_example)).read_bytes()
        if example is None or predict_example(model) or NOT_JSON.search(body) or name in NUMBERS_FOR_TIMES:
            continue
        try:
            found = model.predict(read_request(body, "application/json", model.metadata.signature))
        except ServingError as error:
            found = error.message
        if found != (expected := model.predict_conformed(example.data, example.params)):
            wrong[name] = (found, expected)

    assert wrong == {}


def test_no_example_keeps_a_model_from_being_warmed_or_served(saved: Saved) -> None:
    unusable = {name for name in saved.answers if example_problem(read_metadata(saved.directory / name))}
    for name in saved.answers:
        warm_up(saved.model(name))

    assert unusable <= UNUSABLE


def test_an_example_that_cannot_be_used_is_one_warning(saved: Saved, caplog: pytest.LogCaptureFixture) -> None:
    warm_up(saved.model("tensor-empty"))

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the model is not warmed: its input example cannot be used: inputs: an array of shape [0]" in caplog.text


TWICE = {"columns": ["a", "b", "a"], "data": [[1, "x", 2.5], [3, "y", 4.5]]}


@pytest.mark.parametrize("index", [None, ["r", "s"]], ids=["no index", "an index"])
def test_request_with_a_name_that_comes_twice_reaches_a_model_without_a_signature(
    index: list[str] | None, model: Callable[[str], Model]
) -> None:
    body = json.dumps({"dataframe_split": TWICE | ({"index": index} if index else {})})
    ours = model("free").plan.conform(read_request(body.encode(), "application/json", Signature())).data

    assert ours.columns.tolist() == TWICE["columns"]
    assert [ours.iloc[:, at].tolist() for at in range(3)] == [[1, 3], ["x", "y"], [2.5, 4.5]]
    assert ours.index.tolist() == (index or [0, 1])


def test_names_that_come_twice_are_refused_if_a_signature_or_an_uneven_row_speaks_against_them() -> None:
    column = Column(name="a", type=Scalar(name="long"), required=True)
    body = json.dumps({"dataframe_split": TWICE}).encode()
    with pytest.raises(InvalidInputError, match=r"columns\[2\]: a name that comes twice"):
        read_request(body, "application/json", Signature(columns=(column,)))

    uneven = json.dumps({"dataframe_split": TWICE | {"data": [[1, 2]]}}).encode()
    with pytest.raises(InvalidInputError, match=r"data\[0\]: 2 values, where there are 3 columns"):
        read_request(uneven, "application/json", Signature())


def test_recorded_input_keeps_both_columns_of_one_name() -> None:
    data = pd.DataFrame([[1, 2]], columns=["a", "a"])
    captured = CapturedPrediction(
        request_id="1", protocol="invocations", at=0.0, data=data, params=None, rows=1, value=[3], size=0
    )
    (domino,) = domino_records(captured, frozenset(), None)
    (line,) = jsonl_records(captured, frozenset())
    (redacted,) = jsonl_records(captured, frozenset({"a"}))

    assert json.loads(line)["request"]["dataframe_split"]["data"] == [[1, 2]]
    assert json.loads(redacted)["request"]["dataframe_split"]["data"] == [[None, None]]
    assert json.loads(domino)["features"] == {"a": 1, "a.1": 2}


def test_infinity_of_an_example_is_for_examples_only(model: Callable[[str], Model]) -> None:
    with pytest.raises(MalformedRequestError, match="Infinity"):
        read_request(b'{"inputs": {"values": [Infinity]}}', "application/json", model("array").metadata.signature)
