"""BentoML: `MODEL=<model.pkl> bentoml serve bentoml_service:Served --port <port>`."""

import os
import pickle
from pathlib import Path

import bentoml
import numpy as np


@bentoml.service(workers=2)
class Served:
    def __init__(self) -> None:
        self._model = pickle.loads(Path(os.environ["MODEL"]).read_bytes())  # noqa: S301  ours

    @bentoml.api  # type: ignore[untyped-decorator]  # it has no types here
    def predict(self, rows: list[list[float]]) -> list[float]:
        values: list[float] = self._model.predict(np.array(rows, dtype=float)).tolist()
        return values
