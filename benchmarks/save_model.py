"""Save a model for the benchmarks, with full MLflow.

`python save_model.py elastic-net|forest|picture|unsigned|mixed|nested|tensors|wide <directory>`
"""

import sys
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature, infer_signature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import Array, ColSpec, DataType, Object, Property, Schema, TensorSpec
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


class Basket(PythonModel):
    """Model that adds the numbers of a row of texts, times and nulls."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # as above
        spent = model_input["price"].fillna(0.0) * model_input["count"] + model_input["member"]
        return (spent + model_input["bought"].dt.hour.fillna(0) + model_input["city"].isna()).to_numpy()


class Embedding(PythonModel):
    """Model that adds the first numbers of lists and of objects."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # as above
        pairs = zip(model_input["embedding"], model_input["box"], strict=True)
        return np.array([numbers[0] + box["width"] for numbers, box in pairs])


class Mean(PythonModel):
    """Model that takes tensors of 28 x 28 floats and does next to nothing with them."""

    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # as above
        return model_input["pixels"].mean(axis=(1, 2))


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


def mixed(directory: str) -> None:
    kinds = {"code": "string", "city": "string", "day": "datetime", "bought": "datetime"}
    kinds |= {"count": "long", "price": "double", "member": "boolean"}
    optional = {"city", "bought", "price"}
    columns = [ColSpec(DataType[kind], name, required=name not in optional) for name, kind in kinds.items()]
    save_python(Basket(), columns, directory)


def nested(directory: str) -> None:
    box = Object([Property("width", DataType.double), Property("label", DataType.string)])
    columns = [
        ColSpec(Array(DataType.double), "embedding"),
        ColSpec(Array(DataType.string), "tags"),
        ColSpec(box, "box"),
    ]
    save_python(Embedding(), columns, directory)


def tensors(directory: str) -> None:
    save_python(Mean(), [TensorSpec(np.dtype("float32"), (-1, 28, 28), "pixels")], directory)


def wide(directory: str) -> None:
    """Save a model of 4,001 columns of several types."""
    kinds = ["double"] * 2000 + ["long"] * 1000 + ["string"] * 1000 + ["boolean"]
    save_python(Length(), [ColSpec(DataType[kind], f"c{place}") for place, kind in enumerate(kinds)], directory)


def save_python(model: PythonModel, inputs: list[Any], directory: str) -> None:
    outputs = Schema([ColSpec(DataType.double)])
    signature = ModelSignature(inputs=Schema(inputs), outputs=outputs)
    save_model(directory, python_model=model, signature=signature, pip_requirements=["numpy", "pandas"])


SAVERS = {
    "elastic-net": elastic_net,
    "forest": forest,
    "picture": picture,
    "unsigned": unsigned,
    "mixed": mixed,
    "nested": nested,
    "tensors": tensors,
    "wide": wide,
}
SAVERS[sys.argv[1]](sys.argv[2])
