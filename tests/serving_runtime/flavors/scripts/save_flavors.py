"""Saves a model of every flavor, each with a request and what MLflow itself predicts for it in `expected.json`.

Runs in an environment with the full MLflow: `python save_flavors.py <directory>`.
"""

import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from mlflow.types.llm import (
    ChatChoice,
    ChatChoiceDelta,
    ChatChunkChoice,
    ChatCompletionChunk,
    ChatCompletionResponse,
    ChatMessage,
)
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import ElasticNet

warnings.simplefilter("ignore")
MODERN = not mlflow.__version__.startswith("2.")
TARGET = Path(sys.argv[1])
CODE = Path(__file__).with_name("units.py")
RANDOM = np.random.default_rng(7)
FRAME = pd.DataFrame(RANDOM.normal(size=(120, 4)), columns=["fixed acidity", "pH", "alcohol", "sulphates"])
TARGETS = FRAME @ [1.0, 2.0, 3.0, -1.0]
ROWS = FRAME.head(3)
# Said, not inferred: MLflow would load each model in a process of its own to find out.
REQUIREMENTS = [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas", "scikit-learn")]


class Celsius(mlflow.pyfunc.PythonModel):
    """Reads an artifact, and uses a module that was logged beside it."""

    def load_context(self, context):
        self.offset = json.loads(Path(context.artifacts["offset"]).read_text())

    def predict(self, context, model_input, params=None):
        import units  # noqa: PLC0415  it is logged with the model

        return pd.DataFrame({"celsius": [units.celsius(value) + self.offset for value in model_input["fahrenheit"]]})


class Parrot(mlflow.pyfunc.ChatModel):
    """Says again what it was told, at once or word by word."""

    def predict(self, context, messages, params):
        message = ChatMessage(role="assistant", content=f"You said: {messages[-1].content}")
        return ChatCompletionResponse(choices=[ChatChoice(message=message)], model="parrot", created=1)

    def predict_stream(self, context, messages, params):
        for word in messages[-1].content.split():
            delta = ChatChoiceDelta(role="assistant", content=word)
            yield ChatCompletionChunk(choices=[ChatChunkChoice(delta=delta)], model="parrot", created=1)


def expect(name: str, request: dict[str, Any], given: Any) -> None:
    """MLflow's own prediction in this environment, as JSON."""
    predicted = mlflow.pyfunc.load_model(str(TARGET / name)).predict(given)
    if isinstance(predicted, pd.DataFrame):
        predicted = predicted.to_dict(orient="records")
    predicted = predicted.tolist() if isinstance(predicted, np.ndarray) else predicted
    if isinstance(predicted, dict):
        predicted = {
            key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in predicted.items()
        }
    (TARGET / name / "expected.json").write_text(json.dumps({"request": request, "predictions": predicted}))


def rows(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": frame.to_dict(orient="split", index=False)}


def of_tables() -> None:
    more = {
        "signature": infer_signature(FRAME, TARGETS.to_numpy()),
        "input_example": ROWS,
        "pip_requirements": REQUIREMENTS,
    }
    linear = ElasticNet(alpha=0.05).fit(FRAME, TARGETS)
    for form in ["cloudpickle", "skops"] if MODERN else []:
        mlflow.sklearn.save_model(linear, str(TARGET / f"scikit-learn-{form}"), serialization_format=form, **more)
        expect(f"scikit-learn-{form}", rows(ROWS), ROWS)


def of_forest() -> None:
    more = {
        "signature": infer_signature(FRAME, TARGETS.to_numpy()),
        "input_example": ROWS,
        "pip_requirements": REQUIREMENTS,
    }
    forest = RandomForestRegressor(n_estimators=20, random_state=7).fit(FRAME, TARGETS)
    mlflow.sklearn.save_model(forest, str(TARGET / "forest"), **more)
    expect("forest", rows(ROWS), ROWS)


def of_code() -> None:
    (TARGET / "offset.json").write_text("0.5")
    frame = pd.DataFrame({"fahrenheit": [32.0, 212.0]})
    mlflow.pyfunc.save_model(
        str(TARGET / "code"),
        python_model=Celsius(),
        artifacts={"offset": str(TARGET / "offset.json")},
        code_paths=[str(CODE)],
        signature=infer_signature(frame, pd.DataFrame({"celsius": [0.0, 100.0]})),
        input_example=frame,
        pip_requirements=["pandas"],
    )
    expect("code", rows(frame), frame)


def of_chats() -> None:
    mlflow.pyfunc.save_model(str(TARGET / "chat"), python_model=Parrot(), pip_requirements=["pandas"])
    request = {"messages": [{"role": "user", "content": "good morning"}]}
    expect("chat", request, request)


def of_boosters() -> None:
    import lightgbm  # noqa: PLC0415  the older MLflow is tested without it
    import xgboost  # noqa: PLC0415  as above

    more = {
        "signature": infer_signature(FRAME, TARGETS.to_numpy()),
        "input_example": ROWS,
        "pip_requirements": REQUIREMENTS,
    }
    mlflow.xgboost.save_model(
        xgboost.XGBRegressor(n_estimators=20, n_jobs=1).fit(FRAME, TARGETS), str(TARGET / "xgboost"), **more
    )
    expect("xgboost", rows(ROWS), ROWS)
    booster = lightgbm.LGBMRegressor(n_estimators=20, n_jobs=2, verbose=-1).fit(FRAME, TARGETS)
    mlflow.lightgbm.save_model(booster, str(TARGET / "lightgbm"), **more)
    expect("lightgbm", rows(ROWS), ROWS)


def of_tensors() -> None:
    from onnx import TensorProto, helper  # noqa: PLC0415  as above

    shape = ["rows", 4, 4, 3]
    nodes = [
        helper.make_node("Relu", ["pixels"], ["positive"]),
        helper.make_node("ReduceMean", ["positive"], ["brightness"], axes=[1, 2, 3], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("brightness", TensorProto.FLOAT, ["rows"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    pixels = RANDOM.normal(size=(2, 4, 4, 3)).astype(np.float32)
    signature = infer_signature({"pixels": pixels}, {"brightness": np.zeros(2, dtype=np.float32)})
    mlflow.onnx.save_model(
        model,
        str(TARGET / "onnx"),
        signature=signature,
        input_example={"pixels": pixels},
        pip_requirements=["onnxruntime"],
    )
    expect("onnx", {"inputs": {"pixels": pixels.tolist()}}, {"pixels": pixels})


of_code()
of_chats()
if MODERN:
    of_tables()
    of_boosters()
    of_tensors()
else:
    of_forest()
