"""The function from a record batch to the record batch of its predictions, which Spark and Ray call."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from serving_runtime.errors import InvalidInputError, OutputError, PredictionError
from serving_runtime.model import Model
from serving_runtime.prediction.model_archive import digest, pack, unpack
from serving_runtime.prediction.record_batches import BatchScorer, RefusedRowError
from serving_runtime.prediction.result_type import result_columns
from serving_runtime.signature import Array, Column, Map, Object, Property, Scalar, Signature, Tensor

COLUMNS = ["fixed acidity", "pH", "alcohol"]
ROWS = [[7.4, 3.5, 9.4], [6.3, 3.2, 10.1], [8.0, 3.0, 11.0], [5.5, 3.9, 12.5], [7.0, 3.3, 9.9]]
DOUBLE = pa.schema([("prediction", pa.float64())])


def batch(rows: list[list[Any]] = ROWS, columns: list[str] = COLUMNS) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(dict(zip(columns, map(list, zip(*rows, strict=True)), strict=True)))


class Predicts:
    """A model whose predictions a function makes of a frame of one column."""

    metadata = SimpleNamespace(
        signature=Signature(columns=(Column(name="x", type=Scalar(name="long"), required=True),))
    )

    def __init__(self, function: Callable[[list[int]], Any]) -> None:
        self._function = function

    def predict(self, request: Any) -> Any:
        return self._function([int(cell) for cell in request.input.columns["x"]])


def scorer(function: Callable[[list[int]], Any], schema: pa.Schema = DOUBLE, *, problems: bool = False) -> BatchScorer:
    return BatchScorer(model=cast("Model", Predicts(function)), schema=schema, problems=problems)


def numbers(count: int) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict({"x": list(range(count))})


def test_batch_has_the_predictions_of_the_model(model: Callable[[str], Model]) -> None:
    wine = model("wine")
    schema = result_columns(wine.metadata.signature, "double")

    scored = BatchScorer(model=wine, schema=schema)(batch())

    frame = pd.DataFrame(ROWS, columns=COLUMNS)
    assert scored.schema == DOUBLE
    assert scored.column(0).to_pylist() == np.asarray(wine.predict_conformed(frame, None)).tolist()


def test_batch_without_rows_has_no_predictions_and_the_same_columns(model: Callable[[str], Model]) -> None:
    scored = BatchScorer(model=model("wine"), schema=DOUBLE, problems=True)(batch().slice(0, 0))

    assert (scored.num_rows, scored.schema.names) == (0, ["prediction", "problem"])


def test_first_row_that_is_refused_is_named_with_its_column(model: Callable[[str], Model]) -> None:
    odd = pa.array(["3.1", "3.2", None, "x", "y"])  # a column that became one of texts in the last file

    with pytest.raises(RefusedRowError) as refused:
        BatchScorer(model=model("wine"), schema=DOUBLE)(batch().set_column(1, "pH", odd))

    assert (refused.value.row, str(refused.value)) == (
        0,
        'row 1 of the batch: "pH": a string, where the model takes a number',
    )


def test_refused_rows_have_their_reason_and_others_their_prediction() -> None:
    def no_threes(cells: list[int]) -> Any:
        if 3 in cells or 5 in cells:
            raise PredictionError("the model failed on this input")
        return np.array(cells, dtype=float)

    scored = scorer(no_threes, problems=True)(numbers(7))

    assert scored.column("prediction").to_pylist() == [0, 1, 2, None, 4, None, 6]
    assert [place for place, reason in enumerate(scored.column("problem").to_pylist()) if reason] == [3, 5]
    with pytest.raises(RefusedRowError, match="row 4 of the batch: the model failed on this input"):
        scorer(no_threes)(numbers(7))


def test_missing_column_is_a_fault_of_all_rows(model: Callable[[str], Model]) -> None:
    with pytest.raises(InvalidInputError, match='the column "pH" is missing'):
        BatchScorer(model=model("wine"), schema=DOUBLE, problems=True)(batch().drop_columns(["pH"]))


def test_column_that_comes_twice_as_after_a_join_is_a_fault_of_all_rows(model: Callable[[str], Model]) -> None:
    joined = batch().append_column("pH", pa.array([3.0] * len(ROWS)))

    with pytest.raises(InvalidInputError, match='the column "pH" comes twice; rename one of them'):
        BatchScorer(model=model("wine"), schema=DOUBLE, problems=True)(joined)


@pytest.mark.parametrize("problems", [False, True])
@pytest.mark.parametrize("returned", [lambda cells: np.array(cells[1:], dtype=float), lambda cells: cells[1:]])
def test_model_that_returns_fewer_rows_is_an_error(returned: Callable[[list[int]], Any], problems: bool) -> None:
    with pytest.raises(OutputError, match="the model returns 4 predictions for 5 rows, not one for each"):
        scorer(returned, problems=problems)(numbers(5))


@pytest.mark.parametrize(
    ("returned", "schema", "wanted"),
    [
        (np.array, DOUBLE, {"prediction": [0.0, 1.0]}),
        (lambda cells: np.array([np.nan, np.inf]), DOUBLE, {"prediction": [None, None]}),
        (lambda cells: ["a", "b"], pa.schema([("prediction", pa.string())]), {"prediction": ["a", "b"]}),
        (lambda cells: pd.Series(["a", None]), pa.schema([("prediction", pa.string())]), {"prediction": ["a", None]}),
        (lambda cells: [[1, 2], [3]], pa.schema([("p", pa.list_(pa.int64()))]), {"p": [[1, 2], [3]]}),
        (
            lambda cells: np.array([[1.5, 2], [3, 4]]),
            pa.schema([("a", pa.float64()), ("b", pa.int64())]),
            {"a": [1.5, 3.0], "b": [2, 4]},
        ),
        (
            lambda cells: pd.DataFrame({"b": [1, 2], "a": ["x", "y"]}),
            pa.schema([("a", pa.string()), ("b", pa.int64())]),
            {"a": ["x", "y"], "b": [1, 2]},
        ),
        (
            lambda cells: {"a": np.array([1, 2]), "b": np.array([3, 4])},
            pa.schema([("b", pa.int64()), ("a", pa.int64())]),
            {"b": [3, 4], "a": [1, 2]},
        ),
    ],
    ids=["integers", "not-finite", "texts", "series", "lists", "matrix", "frame-by-name", "dict-of-arrays"],
)
def test_predictions_of_every_form_get_the_types_of_the_result(
    returned: Callable[[list[int]], Any], schema: pa.Schema, wanted: dict[str, Any]
) -> None:
    scored = scorer(returned, schema)(numbers(2))

    assert (scored.schema, scored.to_pydict()) == (schema, wanted)


@pytest.mark.parametrize(
    "returned",
    [lambda cells: np.array([0.5, 1.0]), lambda cells: ["a", "b"], lambda cells: np.ones((2, 3))],
    ids=["fraction", "text", "columns"],
)
def test_prediction_that_the_result_type_cannot_hold_is_an_error(returned: Callable[[list[int]], Any]) -> None:
    with pytest.raises(OutputError, match="give the result type that it has"):
        scorer(returned, pa.schema([("prediction", pa.int64())]))(numbers(2))


@pytest.mark.parametrize(
    ("outputs", "wanted"),
    [
        ((Tensor(name=None, dtype=np.dtype("float32"), shape=(-1,)),), {"prediction": pa.float64()}),
        (
            (Tensor(name=None, dtype=np.dtype("int32"), shape=(-1, 2)),),
            {"prediction_0": pa.int64(), "prediction_1": pa.int64()},
        ),
        ((Tensor(name=None, dtype=np.dtype("O"), shape=(-1,)),), {"prediction": pa.string()}),
        ((Column(name=None, type=Scalar(name="integer"), required=True),), {"prediction": pa.int64()}),
        (
            (
                Column(name="a", type=Array(items=Scalar(name="float")), required=True),
                Column(
                    name="b",
                    type=Object(properties={"c": Property(type=Scalar(name="boolean"), required=True)}),
                    required=True,
                ),
            ),
            {"a": pa.list_(pa.float64()), "b": pa.struct({"c": pa.bool_()})},
        ),
    ],
    ids=["tensor", "matrix", "texts", "unnamed", "nested"],
)
def test_columns_of_the_result_are_the_outputs_of_the_signature(outputs: Any, wanted: dict[str, pa.DataType]) -> None:
    assert result_columns(Signature(outputs=outputs), None) == pa.schema(wanted)


def test_result_type_is_read_with_or_without_names() -> None:
    assert result_columns(Signature(), "double") == DOUBLE
    assert result_columns(Signature(), "the label string, score double") == pa.schema(
        {"the label": pa.string(), "score": pa.float64()}
    )


@pytest.mark.parametrize("given", ["decimal", "double, string", "a, b", ""])
def test_result_type_that_cannot_be_read_is_refused(given: str) -> None:
    with pytest.raises(OutputError, match="cannot be read; give it, as one type"):
        result_columns(Signature(), given)


@pytest.mark.parametrize(
    "outputs",
    [(), (Column(name="a", type=Map(values=Scalar(name="long")), required=True),)],
    ids=["no outputs", "a map"],
)
def test_signature_that_does_not_say_what_is_predicted_needs_a_result_type(outputs: Any) -> None:
    with pytest.raises(OutputError, match="the result type is missing: give it"):
        result_columns(Signature(outputs=outputs), None)


def test_model_that_predicts_a_column_problem_gets_no_other() -> None:
    with pytest.raises(OutputError, match="predicts a column problem itself"):
        _ = scorer(list, pa.schema([("problem", pa.string())]), problems=True).result_schema


def test_archive_has_the_files_of_the_model(models: Path, tmp_path: Path) -> None:
    with (tmp_path / "model.tar").open("wb") as stream:
        pack(models / "wine", stream)

    unpack((tmp_path / "model.tar").read_bytes(), tmp_path / "unpacked")

    assert digest(tmp_path / "unpacked") == digest(models / "wine")
