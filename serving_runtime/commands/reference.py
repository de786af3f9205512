"""What MLflow itself predicts for the example that it logged with a model, by its own reading of it."""

import warnings
from pathlib import Path
from typing import Any

from serving_runtime.pyfunc import load_pyfunc


def reference(directory: Path) -> Any:
    """Raises what MLflow and the model raise."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's hints are for those who log models
        from mlflow.models import Model  # noqa: PLC0415  loaded with the model

        saved = Model.load(str(directory))
        example = saved.load_input_example(str(directory))
        params = saved.load_input_example_params(str(directory))
        return load_pyfunc(directory).predict(example, params=params)
