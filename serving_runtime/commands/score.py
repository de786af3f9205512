"""Predictions for the rows of a chunk: for each row its prediction, or the reason why it has none."""

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import orjson

from serving_runtime.codec.encode import encode
from serving_runtime.commands.chunk import Chunk
from serving_runtime.commands.cli_errors import InputFileError
from serving_runtime.errors import InvalidInputError, OutputError, ServingError
from serving_runtime.model import Model

with suppress(ImportError):  # the extra `tables`: without it no chunk has columns
    from serving_runtime.tables.predictions import Predictions, as_predictions

# The part of a fault's path up to the row; the rest is the place within the row.
ROW: Final = re.compile(
    r"^(?:(?:csv|table|dataframe_records|dataframe_split\.data)\[\d+\]|(?:inputs|instances)(?:\[\d+\])?)\.?"
)
COLUMN: Final = re.compile(r'^\["(.*?)"\]')


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    prediction: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}"


def score(model: Model, chunk: Chunk, first: int = 0, end: int | None = None) -> Iterator[Scored | Failed]:
    """Yield a result for each row, in their order. A chunk that fails is halved until single rows fail.

    Raises InputFileError if the fault is one of all rows, such as a missing column.
    """
    end = chunk.count if end is None else end
    try:
        yield from _rows(model, chunk, first, end)
    except ServingError as error:
        if _of_all_rows(error) and not model.metadata.signature.typed_in_code:
            raise InputFileError(str(error)) from None  # a column is missing
        if end - first == 1:
            yield Failed(place=chunk.place(first), problem=_problem(error))
            return
        middle = (first + end) // 2
        yield from score(model, chunk, first, middle)
        yield from score(model, chunk, middle, end)


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
    value = model.predict_conformed(conformed.data, conformed.params)
    count = conformed.rows or 1 if chunk.whole else end - first
    return [Scored(prediction=item) for item in _by_row(value, count, single=end - first == 1)]


def _by_row(value: Any, count: int, *, single: bool) -> list[Any]:
    """Return the JSON value of each prediction. `single`: they belong to one row of the file. Raises OutputError."""
    value = orjson.loads(encode(value, wrapped=False))
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


def _of_all_rows(error: ServingError) -> bool:
    return isinstance(error, InvalidInputError) and not any("[" in fault.path for fault in error.faults)


def _problem(error: ServingError) -> str:
    if not isinstance(error, InvalidInputError):
        return str(error)
    places = ((COLUMN.sub(r'"\1"', ROW.sub("", fault.path)), fault.problem) for fault in error.faults)
    return "; ".join(f"{place}: {problem}" if place else problem for place, problem in places)
