"""Each kind of input example that MLflow stores, read as MLflow wrote it."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from serving_runtime.example import example_problem
from serving_runtime.mlmodel import read_metadata
from serving_runtime.model import load
from serving_runtime.prediction.warm_up import warm_up
from testbed.environments import python_of

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
UNUSABLE = {
    "name-none",
    "name-none-free",
    "names-twice",
    "lists-in-cells-with-nan",
    "names-twice-free",
    "tensor-empty",
    "with-params-not-finite",
}
Answers = dict[str, dict[str, Any]]


@pytest.fixture(scope="module", params=["3.17", "2.22"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answers]:
    """The models, and the answers of MLflow's server to the examples that it stored with them."""
    directory = tmp_path_factory.mktemp(f"examples-{request.param}")
    python = python_of(f"mlflow-{request.param}")
    subprocess.run([python, SCRIPTS / "save_examples.py", directory], check=True, capture_output=True, cwd=directory)
    found = sorted(path.parent.name for path in directory.glob("*/MLmodel") if path.stat().st_size)
    bodies = [(name, directory / name / "serving_input_example.json") for name in found]
    asked = [[name, "application/json", path.read_text()] for name, path in bodies if path.exists()]
    command = [python, SCRIPTS / "ask_mlflow.py", directory]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, cwd=directory)
    return directory, {
        name: answer for (name, *_), answer in zip(asked, json.loads(done.stdout.splitlines()[-1]), strict=True)
    }


def test_every_example_that_mlflow_serves_reaches_the_model_as_mlflow_gives_it(saved: tuple[Path, Answers]) -> None:
    directory, answers = saved
    wrong = {}
    for name, answer in answers.items():
        model = load(directory / name)
        example = model.example()
        if example is None or name in BETTER or answer["status"] != 200 or "predictions" not in answer["body"]:
            continue
        if (found := model.predict_conformed(example.data, example.params)) != answer["body"]["predictions"]:
            wrong[name] = (found, answer["body"]["predictions"])

    assert len(answers) > 120
    assert wrong == {}


def test_no_example_keeps_a_model_from_being_warmed_or_served(saved: tuple[Path, Answers]) -> None:
    directory, answers = saved
    unusable = {name for name in answers if example_problem(read_metadata(directory / name))}
    for name in answers:
        warm_up(load(directory / name))

    assert unusable <= UNUSABLE


def test_an_example_that_cannot_be_used_is_one_warning(
    saved: tuple[Path, Answers], caplog: pytest.LogCaptureFixture
) -> None:
    warm_up(load(saved[0] / "tensor-empty"))

    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "the model is not warmed: its input example cannot be used: inputs: an array of shape [0]" in caplog.text
