"""Saves one model of each kind into a directory. Runs in an environment with the full MLflow: `python save_models.py
<directory>`.
"""

import datetime
import decimal
import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import scipy.sparse
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature, infer_signature
from mlflow.protos.databricks_pb2 import RESOURCE_DOES_NOT_EXIST
from mlflow.types.schema import (
    AnyType,
    Array,
    ColSpec,
    Map,
    Object,
    ParamSchema,
    ParamSpec,
    Property,
    Schema,
    TensorSpec,
)
from sklearn.linear_model import ElasticNet

warnings.simplefilter("ignore")
MODERN = not mlflow.__version__.startswith("2.")
TARGET = Path(sys.argv[1])


class Echo(mlflow.pyfunc.PythonModel):
    """Answers with what it was called with, in enough detail to tell two calls apart."""

    def predict(self, context, model_input, params=None):
        def described(value: Any) -> Any:
            if isinstance(value, pd.DataFrame):
                columns = [
                    [str(name), str(value[name].dtype), [described(cell) for cell in value[name]]]
                    for name in value.columns
                ]
                return {"frame": columns, "index": [str(entry) for entry in value.index]}
            if isinstance(value, np.ndarray):
                return {
                    "array": str(value.dtype),
                    "shape": list(value.shape),
                    "values": [described(item) for item in value.ravel().tolist()],
                }
            if isinstance(value, dict):
                return {key: described(item) for key, item in value.items()}
            if isinstance(value, list):
                return [described(item) for item in value]
            return f"{type(value).__name__} {value!r}"

        return {"input": described(model_input), "params": described(params)}


class Chosen(mlflow.pyfunc.PythonModel):
    """Predicts the value of the expression that it is sent."""

    def predict(self, context, model_input, params=None):
        names = {"np": np, "pd": pd, "datetime": datetime, "decimal": decimal, "MlflowException": MlflowException}
        names["RESOURCE_DOES_NOT_EXIST"] = RESOURCE_DOES_NOT_EXIST
        return eval(model_input["expression"].iloc[0], names)  # noqa: S307  the tests' own expressions


class TypeOfInput(mlflow.pyfunc.PythonModel):
    """Predicts the type of its input."""

    def predict(self, context, model_input, params=None):
        return [type(model_input).__name__] * model_input.shape[0]


class Broken(mlflow.pyfunc.PythonModel):
    def load_context(self, context):
        raise RuntimeError("the weights are not there")

    def predict(self, context, model_input, params=None):
        return model_input


def columns(*specs: ColSpec) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(specs)))


def save(name: str, model: Any, signature: ModelSignature | None = None, **more: Any) -> None:
    mlflow.pyfunc.save_model(str(TARGET / name), python_model=model, signature=signature, pip_requirements=[], **more)


def elastic_net() -> None:
    random = np.random.default_rng(7)
    frame = pd.DataFrame(random.normal(size=(50, 3)), columns=["fixed acidity", "pH", "alcohol"])
    model = ElasticNet(alpha=0.05).fit(frame, frame @ [1.0, 2.0, 3.0])
    signature = infer_signature(frame, model.predict(frame))
    mlflow.sklearn.save_model(model, str(TARGET / "wine"), signature=signature, input_example=frame.head(2))


elastic_net()
SCALARS = ("boolean", "integer", "long", "float", "double", "string", "binary", "datetime")
save("scalars", Echo(), columns(*(ColSpec(name, name) for name in SCALARS)))
save("optional", Echo(), columns(ColSpec("long", "id"), *(ColSpec(name, name, required=False) for name in SCALARS)))
save("one-long", Echo(), columns(ColSpec("long", "x")))
save("one-double", Echo(), columns(ColSpec("double", "x")))
save("two-doubles", Echo(), columns(ColSpec("double", "a"), ColSpec("double", "b")))
save("unnamed", Echo(), columns(ColSpec("double"), ColSpec("long")))
save("one-unnamed", Echo(), columns(ColSpec("string")))
PERSON = Object([Property("name", "string"), Property("age", "long"), Property("mail", "string", required=False)])
save("array", Echo(), columns(ColSpec(Array("double"), "values")))
save(
    "nested", Echo(), columns(ColSpec("long", "id"), ColSpec(Array(Array("long")), "matrix"), ColSpec(PERSON, "person"))
)
save("tensor", Echo(), ModelSignature(inputs=Schema([TensorSpec(np.dtype("float64"), (-1, 3))])))
save("image", Echo(), ModelSignature(inputs=Schema([TensorSpec(np.dtype("float32"), (-1, 2, 2))])))
save("texts", Echo(), ModelSignature(inputs=Schema([TensorSpec(np.dtype("str"), (-1,))])))
TENSORS = [TensorSpec(np.dtype("int64"), (-1, 2), "ids"), TensorSpec(np.dtype("bool"), (-1,), "mask")]
save("tensors", Echo(), ModelSignature(inputs=Schema(TENSORS)))
save("free", Echo())
ROWS = scipy.sparse.csr_matrix(np.eye(2, 3))
save("sparse", TypeOfInput(), infer_signature(ROWS), input_example=ROWS)
PARAMS = [
    ParamSpec("k", "long", 3),
    ParamSpec("scale", "double", 1.0),
    ParamSpec("label", "string", "a"),
    ParamSpec("stop", "string", ["x"], (-1,)),
]
save("params", Echo(), ModelSignature(inputs=Schema([ColSpec("long", "x")]), params=ParamSchema(PARAMS)))
save("chosen", Chosen(), columns(ColSpec("string", "expression")))
if MODERN:
    save("broken", Broken(), columns(ColSpec("long", "x")))  # MLflow 2 loads it in order to save it
    save("map", Echo(), columns(ColSpec(Map("long"), "counts"), ColSpec(AnyType(), "anything", required=False)))

    class Hinted(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[int]) -> list[int]:
            return [item + 1 for item in model_input]

    save("hinted", Hinted())
