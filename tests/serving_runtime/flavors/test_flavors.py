"""A real server of every flavor predicts what MLflow predicted when the model was saved."""

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from model_contract.prediction_differences import differences
from testbed.runtime_server import RuntimeServer

ServedModel = Callable[[str, str], tuple[Path, RuntimeServer]]

EVERY = [
    *(
        ("3.17", name)
        for name in ("scikit-learn-skops", "scikit-learn-cloudpickle", "xgboost", "lightgbm", "code", "onnx")
    ),
    *(("2.22", name) for name in ("forest", "code")),
]
# Ten models are saved and ten servers started before the first test: seconds each, on a machine that has nothing else
# to do.
pytestmark = pytest.mark.timeout(1800)
# Another version of a library may add in another order.
CLOSE = 1e-6


def expected(directory: Path) -> Any:
    return json.loads((directory / "expected.json").read_text())


@pytest.mark.parametrize(("version", "name"), EVERY, ids=lambda value: value)
def test_flavor_predicts_what_mlflow_predicted(version: str, name: str, served: ServedModel) -> None:
    directory, server = served(version, name)
    told = expected(directory)

    answer = server.predict(told["request"])

    assert answer.status == 200, answer.body
    assert list(islice(differences(answer.document["predictions"], told["predictions"], CLOSE), 3)) == []


@pytest.mark.parametrize("version", ["3.17", "2.22"])
def test_chat_model_answers_in_its_own_form(version: str, served: ServedModel) -> None:
    directory, server = served(version, "chat")
    told = expected(directory)

    answer = server.predict(told["request"])

    assert answer.status == 200, answer.body
    assert answer.document["choices"][0]["message"] == told["predictions"]["choices"][0]["message"]
    assert "predictions" not in answer.document


@pytest.mark.parametrize(
    ("version", "name", "flavor"),
    [
        ("3.17", "xgboost", "xgboost"),
        ("3.17", "onnx", "onnx"),
        ("3.17", "code", "python_function"),
        ("2.22", "forest", "sklearn"),
    ],
)
def test_info_names_the_flavor_and_the_mlflow_that_saved_it(
    version: str, name: str, flavor: str, served: ServedModel
) -> None:
    _, server = served(version, name)

    model = server.get("/info").document["model"]

    assert (model["flavor"], model["mlflow_version"][:4]) == (flavor, version)


@pytest.mark.parametrize(
    ("name", "request_body", "place"),
    [
        (
            "xgboost",
            {"dataframe_records": [{"fixed acidity": "high", "pH": 1.0, "alcohol": 1.0, "sulphates": 1.0}]},
            "fixed acidity",
        ),
        ("onnx", {"inputs": {"pixels": [[[[0.5] * 3] * 4] * 5]}}, "inputs.pixels"),
        ("code", {"dataframe_records": [{}]}, "fahrenheit"),
    ],
)
def test_wrong_input_is_refused_for_every_flavor(
    name: str, request_body: dict[str, Any], place: str, served: ServedModel
) -> None:
    _, server = served("3.17", name)

    answer = server.predict(request_body)

    assert answer.status == 400
    assert place in answer.document["message"]
