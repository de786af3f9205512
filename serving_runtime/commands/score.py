"""Predictions for the rows of a chunk: for each row its prediction, or the reason why it has none."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from serving_runtime.codec.encode import encode
from serving_runtime.codec.strict_json import read_written
from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.errors import OutputError, ServingError
from serving_runtime.model import Model
from serving_runtime.prediction.failed_rows import in_halves, is_of_all_rows, problem_of_row

with suppress(ImportError):  # the extra `tables`: without it no chunk has columns
    from serving_runtime.tables.predictions import Predictions, as_predictions


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    prediction: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


def score(model: Model, chunk: Chunk) -> Iterator[Scored | Failed]:
    """Yield a result for each row, in their order.

    Raises InputFileError if the fault is one of all rows, such as a missing column.
    """
    is_of_a_row = _always if model.metadata.signature.typed_in_code else _is_of_a_row
    try:
        for first, result in in_halves(partial(_rows, model, chunk), 0, chunk.count, is_of_a_row):
            if isinstance(result, ServingError):
                yield Failed(place=chunk.place(first), problem=problem_of_row(result))
            else:
                yield from result
    except ServingError as error:
        raise InputFileError(str(error)) from None


def _is_of_a_row(error: ServingError) -> bool:
    return not is_of_all_rows(error)


def _always(_: ServingError) -> bool:
    return True


def score_columns(model: Model, chunk: Chunk) -> "Predictions | list[Any] | None":
    """Return the predictions of the whole chunk as columns, or as the JSON value of each if they are no columns.

    None if its rows must be scored by `score`.
    """
    if chunk.columns is None:
        return None
    try:
        value = model.predict(chunk.columns())
        return as_predictions(value, chunk.count) or _by_row(value, chunk.count, single=chunk.count == 1)
    except ServingError:
        return None


def _rows(model: Model, chunk: Chunk, first: int, end: int) -> list[Scored]:
    conformed = model.plan.conform(chunk.request(first, end))
    value = model.predict_conformed(conformed.data, conformed.params, only_use=True)
    count = conformed.rows or 1 if chunk.whole else end - first
    return [Scored(prediction=item) for item in _by_row(value, count, single=end - first == 1)]


def _by_row(value: Any, count: int, *, single: bool) -> list[Any]:
    """Return the JSON value of each prediction. `single`: they belong to one row of the file. Raises OutputError."""
    value = read_written(encode(value, wrapped=False))
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(item, list) and len(item) == count for item in value.values())
    ):
        value = [dict(zip(value, items, strict=True)) for items in zip(*value.values(), strict=True)]
    if isinstance(value, list) and len(value) == count:
        return value
    if value == []:
        raise OutputError(f"the model returned no prediction for {'this row' if count == 1 else f'{count} rows'}")
    if single:
        return [value]
    raise OutputError(f"the model does not predict one value for each of {count} rows")
