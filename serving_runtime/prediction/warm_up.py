"""The first calls of a model: it predicts its example before any request, alone and merged with others."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.codec.encode import encode
from serving_runtime.errors import InvalidInputError, ModelLoadError, ServingError
from serving_runtime.example import UNUSABLE
from serving_runtime.input.conform import Conformed
from serving_runtime.input.merging import merge_key
from serving_runtime.model import Model
from serving_runtime.prediction.call_cost import Stopwatch
from serving_runtime.prediction.comparison import same, varied_example

FAILED: Final = (
    "the model does not predict its own input example: {reason}; "
    "to serve it all the same, start with --warm-up false (MODEL_API_RUNTIME_WARM_UP=false)"
)
NO_EXAMPLE: Final = "the model has no input example {}"
# A call that takes longer is not repeated only to learn something: the server would be late.
LONGEST_REPEATED_CALL: Final = 2.0  # seconds
SHORT_CALL: Final = 0.1  # seconds
TIMED_BATCHES: Final = (1, 16, 64)  # times the rows of the example
REPETITIONS: Final = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """The cost of one call of the model with so many rows."""

    rows: int
    cost: float  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpResult:
    """`against_merging` is the reason why requests are predicted one by one, or None if they may be merged.

    `example_problem` is the sentence that says why the model's example cannot be used, or None.
    """

    against_merging: str | None
    example_problem: str | None = None
    timings: tuple[Timing, ...] = ()

    @property
    def may_merge(self) -> bool:
        return self.against_merging is None


def warm_up(model: Model) -> None:
    """Predict the example once, so that the first caller does not wait for what a first call loads.

    A model without an example that can be used is not called. Raises ModelLoadError if the model fails on it.
    """
    if problem := predict_example(model):
        _log.warning(problem)
    elif model.metadata.serving_example is None:
        _log.info("the model has no input example, so it is not warmed")


def predict_example(model: Model) -> str | None:
    """Predict the example, if there is one. Return the sentence that says why it cannot be used, or None.

    Raises ModelLoadError if the model fails on it.
    """
    if problem := model.example_problem:
        return problem
    example = model.example()
    return None if example is None else _refusal(model, example)


def warm_up_for_merging(model: Model) -> WarmUpResult:
    """Predict the example, and find out if requests may be merged, with the cost of such calls.

    Raises ModelLoadError if the model fails on its example.
    """
    if problem := model.example_problem:
        return WarmUpResult(against_merging=NO_EXAMPLE.format("that can be used"), example_problem=problem)
    example = model.example()
    if example is None:
        return WarmUpResult(against_merging=NO_EXAMPLE.format("to try it with"))
    began = time.perf_counter()
    if problem := _refusal(model, example):
        return WarmUpResult(against_merging=NO_EXAMPLE.format("that can be used"), example_problem=problem)
    seconds = time.perf_counter() - began
    if merge_key(example.data, example.params) is None or not example.rows:
        return WarmUpResult(against_merging="its input is no table or tensor")
    if seconds > LONGEST_REPEATED_CALL:
        return WarmUpResult(against_merging="its first prediction took too long to repeat it")
    if reason := _difference_when_merged(model, example):
        return WarmUpResult(against_merging=reason)
    return WarmUpResult(against_merging=None, timings=tuple(_timings(model, example, seconds)))


def split(predictions: Any, rows: Sequence[int]) -> list[Any] | None:
    """Return the predictions of each request; None if they are not one for each row."""
    if not isinstance(predictions, np.ndarray | pd.DataFrame | pd.Series | list):
        return None
    if (isinstance(predictions, np.ndarray) and predictions.ndim == 0) or len(predictions) != sum(rows):
        return None
    pieces, start = [], 0
    by_position = predictions.iloc if isinstance(predictions, pd.DataFrame | pd.Series) else predictions
    for count in rows:
        pieces.append(by_position[start : start + count])
        start += count
    return pieces


def _refusal(model: Model, example: Conformed) -> str | None:
    """Predict the example. Return the sentence of its refusal by MLflow or by the model's type hint, or None.

    Raises ModelLoadError if the model fails on it.
    """
    try:
        encode(model.predict_conformed(example.data, example.params), wrapped=True)
    except InvalidInputError as error:
        return UNUSABLE.format(reason=error)
    except ServingError as error:
        raise ModelLoadError(FAILED.format(reason=error)) from error
    return None


def _difference_when_merged(model: Model, example: Conformed) -> str | None:
    inputs = [example.data, varied_example(model, example), example.data]
    alone = [model.predict_conformed(data, example.params) for data in inputs]
    if not same(alone[0], alone[2]):
        return "it predicts something else each time"
    try:
        together = split(model.predict_merged(inputs, example.params), [example.rows or 0] * 3)
    except Exception:  # noqa: BLE001  any failure says the same
        return "it fails on rows of several requests"
    if together is None:
        return "its predictions are not one for each row"
    if not all(same(one, other) for one, other in zip(alone, together, strict=True)):
        return "it predicts something else for a row among others"
    return None


def _timings(model: Model, example: Conformed, first: float) -> Iterator[Timing]:
    """Time a few calls for each number of rows. The best one counts: other work of the machine is no cost of the model.

    `first` is the seconds of the first call.
    """
    for times in TIMED_BATCHES:
        inputs = [example.data] * times
        repetitions = REPETITIONS if first < SHORT_CALL else 1
        cost = min(_call_cost(model, inputs, example.params) for _ in range(repetitions))
        yield Timing(rows=times * (example.rows or 1), cost=cost)
        if cost > SHORT_CALL:
            break


def _call_cost(model: Model, inputs: Sequence[Any], params: Any) -> float:
    watch = Stopwatch()
    model.predict_merged(inputs, params)
    watch.stop()
    return watch.cost
