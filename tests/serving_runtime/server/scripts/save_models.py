"""Saves models that a server has trouble with. Runs in an environment with the full MLflow: `python save_models.py
<directory>`.
"""

import ctypes
import os
import random
import signal
import socket
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema
from sklearn.base import BaseEstimator

warnings.simplefilter("ignore")
TARGET = Path(sys.argv[1])
SERVED = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
SIGNATURE = ModelSignature(inputs=Schema([ColSpec("double", "x")]))
EXAMPLE = pd.DataFrame({"x": [1.0]})
LEAST_PORT = 1024


def wait_for(value):
    """If the value is a port of this machine, connect to it, and return when the other end closes."""
    if value >= LEAST_PORT:
        with suppress(OSError), socket.create_connection(("127.0.0.1", int(value))) as connection:
            connection.recv(1)


class Sleeper(mlflow.pyfunc.PythonModel):
    """Waits for the port that it is asked for, and says which process predicted."""

    def predict(self, context, model_input, params=None):
        wait_for(model_input["x"].iloc[0])
        return [os.getpid()]


class SlowToLoad(Sleeper):
    """Holds the interpreter, as a large file that is unpickled does, until the port of a variable lets it go."""

    def load_context(self, context):
        if port := os.environ.get("HELD_BY"):
            with socket.create_connection(("127.0.0.1", int(port))) as connection:
                # A PyDLL keeps the lock of the interpreter.
                ctypes.PyDLL(None).recv(connection.fileno(), ctypes.create_string_buffer(1), 1, 0)


class Forgetful(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if SERVED in os.environ:
            raise KeyError("a table that is not there")
        return [0.0]


class Fragile(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        if SERVED in os.environ:
            os.kill(os.getpid(), signal.SIGKILL)
        return [0.0]


class Patient(mlflow.pyfunc.PythonModel):
    """Doubles, and waits for a port; what is below zero it cannot do."""

    def predict(self, context, model_input, params=None):
        x = model_input["x"]
        wait_for(x.max())
        if (x < 0).any():
            raise ValueError("below zero")
        return [2 * value for value in x]


class Mixing(mlflow.pyfunc.PythonModel):
    """A row's prediction depends on the rows beside it."""

    def predict(self, context, model_input, params=None):
        return list(model_input["x"] - model_input["x"].mean())


class Dice(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return [random.random() for _ in model_input["x"]]  # noqa: S311  it is what it is


class Streamer(mlflow.pyfunc.PythonModel):
    """Says what its message asks for in pieces, and in a file that it was told to stop."""

    def predict(self, context, model_input, params=None):
        return {"content": "whole"}

    def predict_stream(self, context, model_input, params=None):
        wish = model_input["messages"][0]["content"]
        if wish == "fail at once":
            raise ValueError("a secret")
        try:
            yield {"content": 0}
            if wish == "fail later":
                raise ValueError("a secret")
            yield from ({"content": number} for number in range(1, 4))
            while wish.startswith("/"):
                time.sleep(0.02)
                yield {"content": "more"}
        finally:
            if wish.startswith("/"):
                Path(wish).touch()


class Caller(mlflow.pyfunc.PythonModel):
    """Answers with the headers that a call of another server would have."""

    def predict(self, context, model_input, params=None):
        return self.headers()

    def predict_stream(self, context, model_input, params=None):
        yield self.headers()
        if model_input["messages"][0]["content"] == "fail later":
            raise ValueError("a secret")
        yield self.headers()

    def headers(self):
        from opentelemetry import propagate, trace  # noqa: PLC0415  of the server that loads it

        carrier = {}
        with trace.get_tracer("the model").start_as_current_span("lookup"):
            propagate.inject(carrier)
        return carrier


class Suspicious(BaseEstimator):
    """Predicts 1 if MLflow is imported, and 0 if not. With MLflow, it waits for the port of a variable."""

    def fit(self, x, y):
        return self

    def predict(self, x):
        if "mlflow" in sys.modules:
            wait_for(int(os.environ.get("HELD_BY", "0")))
        return [float("mlflow" in sys.modules)] * len(x)


def save(name: str, model: Any, **more: Any) -> None:
    mlflow.pyfunc.save_model(
        str(TARGET / name), python_model=model, signature=SIGNATURE, **{"pip_requirements": [], **more}
    )


save("sleeper", Sleeper())
save("slow-to-load", SlowToLoad())
save("not-to-be-copied", Sleeper(), pip_requirements=["torch"])
save("forgetful", Forgetful(), input_example=EXAMPLE)
save("fragile", Fragile(), input_example=EXAMPLE)
save("patient", Patient(), input_example=EXAMPLE)
save("mixing", Mixing(), input_example=EXAMPLE)
save("dice", Dice(), input_example=EXAMPLE)
mlflow.pyfunc.save_model(str(TARGET / "streamer"), python_model=Streamer(), pip_requirements=[], streamable=True)
mlflow.pyfunc.save_model(str(TARGET / "caller"), python_model=Caller(), pip_requirements=[], streamable=True)
mlflow.sklearn.save_model(
    Suspicious(),
    str(TARGET / "suspicious"),
    signature=SIGNATURE,
    input_example=EXAMPLE,
    pip_requirements=[],
    serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
)
