"""`replay` of an inference table: the model is called with what it was called with when the rows were recorded."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from model_contract.recordings import Outcome
from serving_runtime.codec.encode import encode
from serving_runtime.commands.recorded_table import read_table
from serving_runtime.model import Model
from tests.serving_runtime.test_inference_table import CASES, Table, table  # noqa: F401  a fixture

Run = Callable[..., Any]
# Rows cannot tell these: a request without rows has none, and a column that is absent is null like one that was null.
OTHERS = {"no rows", "optional columns that are absent or null"}


@pytest.mark.parametrize("kind", sorted(CASES.keys() - OTHERS))
def test_request_made_of_its_rows_is_the_same(
    kind: str,
    table: Callable[..., Table],  # noqa: F811
    model: Callable[[str], Model],
    models: Path,
    run: Run,
) -> None:
    source, body, _, _ = CASES[kind]
    made = table(source)
    record = made.record(body, None)
    value = model(source).predict_conformed(record.data, record.params)
    made.write(made.record(body, value))
    made.writer.close()

    ended = run("replay", "--model-path", models / source, made.directory)

    assert (ended.code, ended.out) == (0, "")
    assert ended.err.endswith("1 requests: 1 same, 0 different, 0 skipped\n")


ANSWERS = {
    "numbers": [0.5, 0.25],
    "lists": np.array([[0.5, 1.0], [0.25, 2.0]]),
    "objects": pd.DataFrame({"label": ["a", "b"], "score": [0.5, float("nan")]}),
    "nested objects": [{"a": [1]}, {"a": [2]}],
    "texts": ["1", "b"],
    "one for all": {"mean": 0.5},
    "a text for all": "b",
    "texts of numpy": list(np.array(["1", "b"])),
    "texts of which one is missing": pd.DataFrame({"label": ["b", None], "score": [0.5, 1.5]}),
    "a text beside a number": ["b", 1],
    "times": np.array(["2024-01-31", "NaT"], dtype="M8[ns]"),
}


@pytest.mark.parametrize("kind", ANSWERS)
def test_predictions_are_compared_in_the_form_of_the_answer(
    kind: str,
    table: Callable[..., Table],  # noqa: F811
) -> None:
    made = table("one-double")
    made.write(made.record({"inputs": {"x": [1.0, 2.0]}}, ANSWERS[kind]))
    made.writer.close()
    (recorded,) = read_table(made.files[0])
    answer = json.loads(encode(ANSWERS[kind], wrapped=True))
    other = json.loads(
        encode(ANSWERS[kind], wrapped=True).replace(b"5", b"6").replace(b"1", b"7").replace(b'"b"', b'"c"')
    )

    assert recorded.compared(200, answer, 0.0) == (Outcome.SAME, "")
    assert recorded.compared(200, other, 0.0)[0] is Outcome.DIFFERENT
    assert recorded.compared(200, {"predictions": []}, 0.0)[0] is Outcome.DIFFERENT


def test_different_prediction_is_told_with_its_row(
    table: Callable[..., Table],  # noqa: F811
    models: Path,
    run: Run,
) -> None:
    made = table("one-double")
    made.write(*(made.record({"inputs": {"x": [1.0, 2.0]}}, np.array([1.0, 2.0]), name=name) for name in ("a", "b")))
    made.writer.close()

    ended = run("replay", "--model-path", models / "one-double", made.directory)

    assert ended.code == 6
    assert [line.partition(": ")[0] for line in ended.out.splitlines()] == [
        f"{made.files[0]}:1",
        f"{made.files[0]}:3",
    ]


def test_files_that_are_no_inference_table_end_with_a_sentence(models: Path, tmp_path: Path, run: Run) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    other = tmp_path / "other.parquet"
    pd.DataFrame({"row": [0]}).to_parquet(other)

    for path, sentence in ((empty, "has no files of Parquet"), (other, "is no file of an inference table")):
        ended = run("replay", "--model-path", models / "wine", path)

        assert ended.code == 3
        assert sentence in ended.err
