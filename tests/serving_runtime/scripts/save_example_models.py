"""Saves a model of each kind of signature with its example: `python save_example_models.py <directory>`, with the full
MLflow 3.
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pydantic
from mlflow.models import ModelSignature
from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage
from mlflow.types.schema import ColSpec, ParamSchema, ParamSpec, Schema, TensorSpec

warnings.simplefilter("ignore")
TARGET = Path(sys.argv[1])


class Texts(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[int]:
        return [len(item) for item in model_input]


class Person(pydantic.BaseModel):
    name: str
    age: int
    tags: list[str] | None = None


class People(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Person]) -> list[str]:
        return [f"{item.name} is {item.age}" for item in model_input]


class Dicts(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[dict[str, Any]]) -> list[str]:
        return [" ".join(f"{key}={value!r}" for key, value in item.items()) for item in model_input]


class Sums(mlflow.pyfunc.PythonModel):
    """Predicts the sum of each row of an array, times the parameter."""

    def predict(self, context, model_input, params=None):
        array = model_input.to_numpy() if isinstance(model_input, pd.DataFrame) else np.asarray(model_input)
        return array.sum(axis=1) * (params or {"times": 1})["times"]


class Named(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [
            sum(row) if keep else 0
            for row, keep in zip(model_input["ids"].tolist(), model_input["mask"].tolist(), strict=True)
        ]


class Lengths(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [len(text) for text in model_input.iloc[:, 0]]


class Chat(mlflow.pyfunc.ChatModel):
    def predict(self, context, messages, params):
        said = ChatMessage(role="assistant", content=messages[-1].content.upper())
        return ChatCompletionResponse(choices=[ChatChoice(index=0, message=said)], model="loud")


def save(name: str, model: Any, **more: Any) -> None:
    mlflow.pyfunc.save_model(str(TARGET / name), python_model=model, pip_requirements=[], **more)


def signature(*inputs: ColSpec | TensorSpec, params: ParamSchema | None = None) -> ModelSignature:
    return ModelSignature(inputs=Schema(list(inputs)), params=params)


TENSOR = TensorSpec(np.dtype("float64"), (-1, 2))
TENSORS = (TensorSpec(np.dtype("int64"), (-1, 2), "ids"), TensorSpec(np.dtype("bool"), (-1,), "mask"))
TIMES = ParamSchema([ParamSpec("times", "long", 1)])
save("texts", Texts(), input_example=["hi", "hello"])
save("texts-without-example", Texts())
save("people", People(), input_example=[Person(name="Ann", age=3), Person(name="Bo", age=4, tags=["new"])])
save("dicts", Dicts(), input_example=[{"a": 1.0, "b": 9007199254740993}, {"c": None}])
save("tensor", Sums(), signature=signature(TENSOR), input_example=np.array([[1.0, 2.0], [3.0, 4.5]]))
save(
    "tensors",
    Named(),
    signature=signature(*TENSORS),
    input_example={"ids": np.array([[1, 2], [3, 4]]), "mask": np.array([True, False])},
)
rows = pd.DataFrame({"a": [9007199254740993, 2], "b": [2, 3]})
columns = (ColSpec("long", "a"), ColSpec("long", "b"))
save("params", Sums(), signature=signature(*columns, params=TIMES), input_example=(rows, {"times": 2}))
save("unnamed", Lengths(), signature=signature(ColSpec("string")), input_example=["hi", "hello"])
save("free", Sums(), signature=False, input_example=pd.DataFrame({"a": [1, 2], "b": [0.5, 3]}))
save("chat", Chat())
