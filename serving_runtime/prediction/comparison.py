"""The comparison of two models by what they predict, and of two predictions of one model."""

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

import numpy as np
import pandas as pd

from serving_runtime.codec.encode import encode
from serving_runtime.codec.returned_values import as_array, as_known_type, column_array, column_names, objects
from serving_runtime.input.blocks import Blocks
from serving_runtime.input.conform import Conformed
from serving_runtime.input.conform_plan import Matrix, Values
from serving_runtime.model import Model

# The order of additions differs between one row and many: predictions that differ by that alone are equal.
TOLERANCE: Final = {"float32": 1e-5, "float16": 1e-2}
TOLERANCE_OF_DOUBLES: Final = 1e-9


def predict_same(one: Model, other: Model) -> bool:
    """Return True if both models predict the same. Raises ServingError if one of them fails."""
    return all_same(example_predictions(one), example_predictions(other))


def example_predictions(model: Model) -> list[Any]:
    """Return the predictions for the model's example, and for other numbers in its place. Raises ServingError.

    They are none if the model has no example.
    """
    example = model.example()
    if example is None:
        return []
    return [model.predict_conformed(data, example.params) for data in (example.data, varied_example(model, example))]


def varied_example(model: Model, example: Conformed) -> Any:
    """Return the example with other numbers, times and texts; without other texts, or as it is, if the model fails."""
    others = (varied(example.data, texts=texts) for texts in (True, False))
    return next((other for other in others if _predicts(model, other, example)), example.data)


def _predicts(model: Model, data: Any, example: Conformed) -> bool:
    try:
        model.predict_merged([data], example.params)
    except Exception:  # noqa: BLE001  the model's own, of any kind
        return False
    return True


def varied(data: Any, *, texts: bool = False) -> Any:
    """Return the input with other numbers and times, and other texts if `texts`.

    A model that mixes the rows of a batch, or sorts them, shows it if they differ.
    """
    change = partial(_varied_values, texts=texts)
    match data:
        case Matrix(values=values, columns=columns):
            return Matrix(values=change(values), columns=columns)
        case Blocks():
            return data.changed(change)
        case pd.DataFrame():
            other = data.copy(deep=False)
            for position in range(data.shape[1]):  # a name may come twice
                column = data.iloc[:, position]
                if getattr(column.dtype, "kind", "O") in "ifM":
                    other.isetitem(position, change(column.to_numpy()))
                elif texts:
                    other.isetitem(position, column.map(_other_text).astype(column.dtype).array)
            return other
        case dict():
            return {name: change(values) for name, values in data.items()}
        case _:
            return change(data)


def _varied_values(values: Values, *, texts: bool) -> Values:
    match values.dtype.kind:
        case "f":
            return (values * 1.25 + 1).astype(values.dtype)
        case "i" | "u":
            return np.add(values, 1, dtype=values.dtype)
        case "M":
            return (values + np.timedelta64(1, "D")).astype(values.dtype)
        case "O" | "U" if texts:
            array = np.asarray(values, dtype=object)
            other = objects([_other_text(cell) for cell in array.ravel()]).reshape(array.shape)
            return other.astype(str) if values.dtype.kind == "U" else other
        case _:
            return values


def _other_text(cell: Any) -> Any:
    return f"{cell} x" if isinstance(cell, str) else cell


def all_same(ours: Sequence[Any], theirs: Sequence[Any]) -> bool:
    """Compare the predictions of two models one by one; without any the answer is False."""
    return bool(ours) and all(same(one, other) for one, other in zip(ours, theirs, strict=True))


def same(one: Any, other: Any) -> bool:
    """Return True if both are equal, but for the order in which floating point numbers were added."""
    left, right = _values(one), _values(other)
    if set(left) != set(right):
        return False
    return all(_arrays_same(left[name], right[name]) for name in left)


def _values(predictions: Any) -> dict[Any, np.ndarray[Any, Any]]:
    predictions = as_known_type(predictions)
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
        case _:  # one value, of which a list of one is not the same
            return {None: objects([predictions])}


def _arrays_same(left: np.ndarray[Any, Any], right: np.ndarray[Any, Any]) -> bool:
    if left.shape != right.shape or left.dtype.kind != right.dtype.kind:
        return False
    if left.dtype.kind in "fc":
        tolerance = TOLERANCE.get(str(left.dtype), TOLERANCE_OF_DOUBLES)
        return bool(np.allclose(left, right, rtol=tolerance, atol=tolerance, equal_nan=True))
    return encode(left, wrapped=False) == encode(right, wrapped=False)
