"""Saves the models whose answers MLServer's recordings hold, with full MLflow: `python save_models.py <directory>`.

Nothing of them is random, so each saved copy predicts the same.
"""

import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import Array, ColSpec, Object, ParamSchema, ParamSpec, Property, Schema, TensorSpec
from sklearn.linear_model import ElasticNet

TARGET = Path(sys.argv[1])
# The columns of the tutorial of MLServer's runtime for MLflow, and an ElasticNet near the one that it trains.
WINE = {
    "fixed acidity": 0.0,
    "volatile acidity": -0.42,
    "citric acid": 0.0,
    "residual sugar": 0.0,
    "chlorides": 0.0,
    "free sulfur dioxide": 0.004,
    "total sulfur dioxide": -0.003,
    "density": 0.0,
    "pH": 0.0,
    "sulphates": 0.3,
    "alcohol": 0.29,
}
PARAMS = ParamSchema([ParamSpec("factor", "double", 1.0), ParamSpec("label", "string", "none")])


class Columns(mlflow.pyfunc.PythonModel):
    """Answers with a frame: a column of each type that MLServer's codec for frames writes."""

    def predict(self, context, model_input, params=None):
        given = model_input
        frame = pd.DataFrame(
            {
                "flag": ~given["flag"].astype(bool),
                "small": given["small"].astype("int32") + 1,
                "big": given["big"].astype("int64") + 1,
                "half": given["half"].astype("float32") * 2,
                "full": given["full"].astype("float64") * 2,
                "size": [len(blob) for blob in given["blob"]],
                "year": [at.year for at in pd.to_datetime(given["at"])],
            }
        )
        # MLServer 1.7 knows no column of pandas 3's own type for texts.
        frame["name"] = pd.Series([name.upper() for name in given["name"]], dtype=object)
        frame["tags"] = pd.Series([sorted(tags) for tags in given["tags"]], dtype=object)
        frame["box"] = pd.Series([{"area": box["width"] ** 2} for box in given["box"]], dtype=object)
        return frame


class Doubled(mlflow.pyfunc.PythonModel):
    """Answers with an array of the same shape."""

    def predict(self, context, model_input, params=None):
        return np.asarray(model_input) * 2


class Named(mlflow.pyfunc.PythonModel):
    """Answers with a dict of arrays."""

    def predict(self, context, model_input, params=None):
        left, right = model_input["left"], model_input["right"]
        return {"sum": left + right, "sign": (left > right).astype("int64")}


class Upper(mlflow.pyfunc.PythonModel):
    """Answers with a list of texts."""

    def predict(self, context, model_input, params=None):
        texts = model_input.iloc[:, 0] if isinstance(model_input, pd.DataFrame) else model_input
        return [str(text).upper() for text in texts]


class Scaled(mlflow.pyfunc.PythonModel):
    """Answers with an array that the parameters decide about."""

    def predict(self, context, model_input, params=None):
        values = model_input["x"].to_numpy(dtype="float64") * params["factor"]
        return values + len(params["label"])


class Filled(mlflow.pyfunc.PythonModel):
    """Answers with an array in which the values that are missing are -1."""

    def predict(self, context, model_input, params=None):
        return model_input["x"].fillna(-1.0).to_numpy(dtype="float64")


class Seen(mlflow.pyfunc.PythonModel):
    """Has no signature, and answers with texts about its input."""

    def predict(self, context, model_input, params=None):
        if isinstance(model_input, pd.DataFrame):
            return [f"frame of {', '.join(model_input)}", *(str(row) for row in model_input.to_numpy().tolist())]
        if isinstance(model_input, dict):
            return [f"{name}: {np.asarray(value).tolist()}" for name, value in model_input.items()]
        return [f"values {np.asarray(model_input).tolist()}"]


def wine() -> None:
    model = ElasticNet(alpha=0.5, l1_ratio=0.5)
    frame = pd.DataFrame([[1.0] * len(WINE), [2.0] * len(WINE)], columns=list(WINE))
    model.fit(frame, [1.0, 2.0])
    model.coef_, model.intercept_ = np.array(list(WINE.values())), 2.8
    mlflow.sklearn.save_model(
        model,
        str(TARGET / "wine"),
        signature=ModelSignature(
            inputs=Schema([ColSpec("double", name) for name in WINE]),
            outputs=Schema([TensorSpec(np.dtype("float64"), (-1,))]),
        ),
        serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
    )


def save(name: str, model: Any, inputs: Schema | None, outputs: Schema | None, **more: Any) -> None:
    signature = ModelSignature(inputs=inputs, outputs=outputs, **more) if inputs else None
    mlflow.pyfunc.save_model(str(TARGET / name), python_model=model, signature=signature, pip_requirements=[])


def columns(**types: Any) -> Schema:
    return Schema([ColSpec(kind, name) for name, kind in types.items()])


numbers = {"flag": "boolean", "small": "integer", "big": "long", "half": "float", "full": "double"}
wine()
save(
    "columns",
    Columns(),
    columns(
        **numbers,
        name="string",
        blob="binary",
        at="datetime",
        tags=Array("string"),
        box=Object([Property("width", "double")]),
    ),
    columns(
        **numbers,
        size="long",
        year="long",
        name="string",
        tags=Array("string"),
        box=Object([Property("area", "double")]),
    ),
)
floats = Schema([TensorSpec(np.dtype("float32"), (-1, 3))])
save("tensor", Doubled(), floats, floats)
save(
    "tensors",
    Named(),
    Schema([TensorSpec(np.dtype("float64"), (-1, 2), name) for name in ("left", "right")]),
    Schema([TensorSpec(np.dtype("float64"), (-1, 2), "sum"), TensorSpec(np.dtype("int64"), (-1, 2), "sign")]),
)
save("texts", Upper(), columns(text="string"), Schema([ColSpec("string")]))
save("lines", Upper(), Schema([ColSpec("string")]), Schema([ColSpec("string")]))
doubles = Schema([TensorSpec(np.dtype("float64"), (-1,))])
save("scaled", Scaled(), columns(x="double"), doubles, params=PARAMS)
save("filled", Filled(), columns(x="double"), doubles)
save("seen", Seen(), None, None)
