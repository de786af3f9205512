"""A model that was loaded without MLflow."""

from collections.abc import Callable, Mapping
from typing import Any

from serving_runtime.loaders.categories import Categories


class NativeModel:
    """Predicts as MLflow's PyFuncModel does, but does not check the input again, which has the signature's types by
    then.

    `categories` are those of a model that was trained on pandas' categories.

    `by_position`: it takes the rows of a table of numbers as an array too, its columns in the signature's order.
    """

    def __init__(
        self, predictor: Callable[[Any], Any], *, by_position: bool = False, categories: Categories | None = None
    ) -> None:
        self._predictor = predictor if categories is None else categories.wrapped(predictor)
        self.by_position = by_position and categories is None
        self.categories = categories

    def predict(self, data: Any, params: Mapping[str, Any] | None = None) -> Any:
        return self._predictor(data)
