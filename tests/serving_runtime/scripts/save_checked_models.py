"""Saves models whose input MLflow or pydantic checks.

Runs in an environment with the full MLflow: `python save_checked_models.py <directory>`.
"""

import sys
import warnings
from pathlib import Path
from typing import Annotated, Literal

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.pyfunc import ChatAgent, ChatModel, ResponsesAgent
from mlflow.types.agent import ChatAgentMessage, ChatAgentResponse
from mlflow.types.llm import ChatChoice, ChatCompletionResponse, ChatMessage
from mlflow.types.responses import ResponsesAgentResponse
from mlflow.types.schema import ColSpec, Schema
from pydantic import BaseModel, Field, field_validator
from pydantic_core import PydanticCustomError

warnings.simplefilter("ignore")
TARGET = Path(sys.argv[1])


class Item(BaseModel):
    name: str
    size: int
    parts: list[float] = []

    @field_validator("name")
    @classmethod
    def short(cls, name: str) -> str:
        if len(name) > 5:
            raise ValueError(f"too long: {name}")
        return name


class Round(BaseModel):
    kind: Literal["circle", "disc", "ring"]
    radius: float


class Square(BaseModel):
    kind: Literal["square"]
    side: float


class Drawing(BaseModel):
    shape: Annotated[Round | Square, Field(discriminator="kind")]
    round: Round | list[int] = []
    code: Annotated[str, Field(pattern="^[a-z]{1,3}$")] = "a"
    size: int = 1

    @field_validator("size")
    @classmethod
    def even(cls, size: int) -> int:
        if size > 1 and size % 2:
            raise PydanticCustomError("odd", f"{size} is odd")
        return size


class Typed(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Item]) -> list[str]:
        return [item.name for item in model_input]


class Bytes(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[bytes]) -> list[int]:
        return [len(item) for item in model_input]


class Numbers(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[dict[str, int]]) -> list[int]:
        return [sum(item.values()) for item in model_input]


class Floats(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[float]) -> list[float]:
        return model_input


class Drawings(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[Drawing]) -> list[str]:
        return [item.code for item in model_input]


class Chat(ChatModel):
    def predict(self, context, messages, params):
        return ChatCompletionResponse(
            choices=[ChatChoice(message=ChatMessage(role="assistant", content=messages[-1].content))]
        )


class Agent(ChatAgent):
    def predict(self, messages, context=None, custom_inputs=None):
        return ChatAgentResponse(messages=[ChatAgentMessage(role="assistant", content=messages[-1].content, id="1")])


class Responses(ResponsesAgent):
    def predict(self, request):
        if request.input[0].content == "fail":
            ChatAgentMessage(role="assistant")  # the author's own mistake
        return ResponsesAgentResponse(output=[self.create_text_output_item(text="hello", id="1")])


class Needy(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [model_input["x"].iloc[0]] if isinstance(model_input, pd.DataFrame) else []


for name, model in (
    ("typed", Typed()),
    ("bytes", Bytes()),
    ("numbers", Numbers()),
    ("floats", Floats()),
    ("drawings", Drawings()),
    ("chat", Chat()),
    ("agent", Agent()),
    ("responses", Responses()),
):
    mlflow.pyfunc.save_model(str(TARGET / name), python_model=model, pip_requirements=[])
signature = ModelSignature(inputs=Schema([ColSpec("double", "x")]))
mlflow.pyfunc.save_model(str(TARGET / "needy"), python_model=Needy(), signature=signature, pip_requirements=[])
