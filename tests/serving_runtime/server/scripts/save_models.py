"""Saves models that a server has trouble with. Runs in an environment with the full MLflow: `python save_models.py <directory>`."""

import os
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types.schema import ColSpec, Schema

warnings.simplefilter("ignore")
TARGET = Path(sys.argv[1])
SERVED = "_MLFLOW_IS_IN_SERVING_ENVIRONMENT"
SIGNATURE = ModelSignature(inputs=Schema([ColSpec("double", "x")]))
EXAMPLE = pd.DataFrame({"x": [1.0]})


class Sleeper(mlflow.pyfunc.PythonModel):
    """Predicts after as many seconds as it is asked for, and says which process did."""

    def predict(self, context, model_input, params=None):
        time.sleep(float(model_input["x"].iloc[0]))
        return [os.getpid()]


class SlowToLoad(Sleeper):
    """Holds the interpreter for two seconds, as a large file that is unpickled does, and waits for one."""

    def load_context(self, context):
        if SERVED in os.environ:
            sum(range(10**8))
            time.sleep(1)


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


def save(name: str, model: Any, **more: Any) -> None:
    mlflow.pyfunc.save_model(str(TARGET / name), python_model=model, signature=SIGNATURE, **{"pip_requirements": [], **more})


save("sleeper", Sleeper())
save("slow-to-load", SlowToLoad())
save("not-to-be-copied", Sleeper(), pip_requirements=["torch"])
save("forgetful", Forgetful(), input_example=EXAMPLE)
save("fragile", Fragile(), input_example=EXAMPLE)
