"""Save a model for the benchmarks, with full MLflow.

`python save_model.py elastic-net|forest|picture|unsigned <directory>`
"""

import sys
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import Schema, TensorSpec
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import ElasticNet

COLUMNS = [f"measure {number}" for number in range(11)]


class Brightness(PythonModel):
    """Model that takes pictures of 224 x 224 x 3 floats and does next to nothing with them."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads annotations as a signature
        return {"brightness": model_input["pixels"].mean(axis=(1, 2, 3))}


class Length(PythonModel):
    """Model without a signature, which takes anything and does nothing with it."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # as above
        return [len(model_input)]


def elastic_net(directory: str) -> None:
    """Save an ElasticNet of eleven columns, as the seed notebook trains it."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(size=(1000, len(COLUMNS))), columns=COLUMNS)
    model = ElasticNet(alpha=0.05).fit(frame, frame.to_numpy() @ random.normal(size=len(COLUMNS)))
    save_sklearn(model, frame, directory)


def forest(directory: str) -> None:
    """Save a forest of 300 trees over eleven columns, whose own work is most of a prediction's cost."""
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(size=(2000, len(COLUMNS))), columns=COLUMNS)
    model = RandomForestRegressor(n_estimators=300, max_depth=12, n_jobs=1, random_state=7)
    save_sklearn(model.fit(frame, frame.sum(axis=1)), frame, directory)


def save_sklearn(model: Any, frame: pd.DataFrame, directory: str) -> None:
    mlflow.sklearn.save_model(
        model,
        directory,
        signature=infer_signature(frame, model.predict(frame)),
        input_example=frame.head(1),
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
    )


def unsigned(directory: str) -> None:
    save_model(directory, python_model=Length(), pip_requirements=["numpy"])


def picture(directory: str) -> None:
    inputs = Schema([TensorSpec(np.dtype("float32"), (-1, 224, 224, 3), "pixels")])
    outputs = Schema([TensorSpec(np.dtype("float32"), (-1,), "brightness")])
    save_model(
        directory,
        python_model=Brightness(),
        signature=ModelSignature(inputs=inputs, outputs=outputs),
        pip_requirements=["numpy"],
    )


{"elastic-net": elastic_net, "forest": forest, "picture": picture, "unsigned": unsigned}[sys.argv[1]](sys.argv[2])
