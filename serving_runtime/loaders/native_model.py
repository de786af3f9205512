"""A model that was loaded without MLflow, and the paths of its files."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving_runtime.loaders.categories import Categories


class NativeModel:
    """Model that predicts as MLflow's PyFuncModel does, but does not check input again that has the signature's types.

    `categories` are those of a model that was trained on pandas' categories.

    `by_position`: the model also takes a table of numbers as an array, with its columns in the signature's order.
    """

    def __init__(
        self, predictor: Callable[[Any], Any], *, by_position: bool = False, categories: Categories | None = None
    ) -> None:
        self._predictor = predictor if categories is None else categories.wrapped(predictor)
        self.by_position = by_position and categories is None
        self.categories = categories

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        return self._predictor(data)


def model_file(directory: Path, name: str) -> Path:
    """Return the path of the file `name` of the model in `directory`. Raises ValueError if it lies elsewhere."""
    path = directory / name
    if not path.resolve().is_relative_to(directory.resolve()):
        raise ValueError(f"the MLmodel file names {name}, which is not in the model's directory")
    return path
