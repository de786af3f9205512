"""Predictions of several requests in one call of the model, and whether a model may be called so."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd

from serving_runtime.codec.encode import encode
from serving_runtime.codec.returned import as_array, column_array, column_names, known, objects
from serving_runtime.errors import InvalidInputError, ModelLoadError, ServingError
from serving_runtime.input.conform import Conformed
from serving_runtime.input.conform_plan import key, varied
from serving_runtime.model import FAILED, UNUSABLE
from serving_runtime.prediction.call_cost import Stopwatch

if TYPE_CHECKING:
    from serving_runtime.model import Model

# A call that takes longer is not repeated only to learn something: the server would be late.
PATIENCE: Final = 2.0  # seconds
SHORT: Final = 0.1
TIMED: Final = (1, 16, 64)  # times the example
REPEATED: Final = 3
# The order of additions differs between one row and many: what is equal but for that is equal.
TOLERANCE: Final = {"float32": 1e-5, "float16": 1e-2}
TOLERANCE_OF_DOUBLES: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    rows: int
    cost: float  # seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUpResult:
    """What the first calls of a model show: `against` says why its requests are not merged, and is None where they may
    be.
    """

    against: str | None
    timings: tuple[Timing, ...] = ()


def split(predictions: Any, rows: Sequence[int]) -> list[Any] | None:
    """The predictions of each request; None where they are not one for each row."""
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


def warm_up_and_measure(model: "Model") -> WarmUpResult:
    """Predicts the model's example as the first caller would, then the same merged and alone. Raises ModelLoadError."""
    example = model.example()
    if example is None:
        return WarmUpResult(
            against=(
                f"the model has no input example {'that can be used' if model.example_problem else 'to try it with'}"
            )
        )
    began = time.perf_counter()
    try:
        encode(model.predict_conformed(example.data, example.params), wrapped=True)
    except InvalidInputError as error:  # MLflow refuses it before the model sees it
        return WarmUpResult(against=UNUSABLE.format(reason=error))
    except ServingError as error:
        raise ModelLoadError(FAILED.format(reason=error)) from error
    seconds = time.perf_counter() - began
    if key(example.data, example.params) is None or not example.rows:
        return WarmUpResult(against="its input is no table or tensor")
    if seconds > PATIENCE:
        return WarmUpResult(against="its first prediction took too long to repeat it")
    if reason := _differs(model, example):
        return WarmUpResult(against=reason)
    return WarmUpResult(against=None, timings=tuple(_timings(model, example, seconds)))


def trial(model: "Model") -> list[Any]:
    """What it predicts for its example, and for other numbers in its place. Raises ServingError where it fails."""
    example = model.example()
    return (
        []
        if example is None
        else [model.predict_conformed(data, example.params) for data in (example.data, _accepted(model, example))]
    )


def compare(one: "Model", other: "Model") -> bool:
    """Whether both predict the same. Raises ServingError where one of them fails."""
    return alike(trial(one), trial(other))


def alike(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Of two trials; a model without an example shows nothing."""
    return bool(ours) and all(same(one, other) for one, other in zip(ours, theirs, strict=True))


def _differs(model: "Model", example: Conformed) -> str | None:
    inputs = [example.data, _accepted(model, example), example.data]
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


def _accepted(model: "Model", example: Conformed) -> Any:
    """Other numbers than the example's, where the model knows what to do with them."""
    other = varied(example.data)
    try:
        model.predict_merged([other], example.params)
    except Exception:  # noqa: BLE001  the model's own, of any kind
        return example.data
    return other


def _timings(model: "Model", example: Conformed, first: float) -> Iterator[Timing]:
    """The best of a few calls for each number of rows: what else the machine does is not the model's cost."""
    for times in TIMED:
        inputs = [example.data] * times
        cost = min(_timed(model, inputs, example.params) for _ in range(REPEATED if first < SHORT else 1))
        yield Timing(rows=times * (example.rows or 1), cost=cost)
        if cost > SHORT:
            break


def _timed(model: "Model", inputs: Sequence[Any], params: Any) -> float:
    watch = Stopwatch()
    model.predict_merged(inputs, params)
    watch.stop()
    return watch.cost


def same(one: Any, other: Any) -> bool:
    """Equal, but for the order in which floating point numbers were added."""
    left, right = _values(one), _values(other)
    if set(left) != set(right):
        return False
    return all(_alike(left[name], right[name]) for name in left)


def _values(predictions: Any) -> dict[Any, np.ndarray[Any, Any]]:
    predictions = known(predictions)
    match predictions:
        case pd.DataFrame():
            names = column_names(predictions)
            return {name: column_array(predictions.iloc[:, at]) for at, name in enumerate(names)}
        case pd.Series():
            return {"": column_array(predictions)}
        case np.ndarray():
            return {"": predictions}
        case list() | tuple():
            return {"": as_array(predictions)}
        case _:
            return {"": objects([predictions])}


def _alike(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    if left.shape != right.shape or left.dtype.kind != right.dtype.kind:
        return False
    if left.dtype.kind in "fc":
        tolerance = TOLERANCE.get(str(left.dtype), TOLERANCE_OF_DOUBLES)
        return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))
    return encode(left, wrapped=False) == encode(right, wrapped=False)
