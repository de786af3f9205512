"""Registers the model `slow`, each of whose calls takes a twentieth of a second, however many rows it has."""

import sys
import time
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel


class Slow(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        time.sleep(0.05)
        return model_input["x"]


rows = pd.DataFrame({"x": [1.0, 2.0]})
with mlflow.start_run():
    logged = mlflow.pyfunc.log_model(
        name="model",
        python_model=Slow(),
        signature=infer_signature(rows, rows["x"]),
        input_example=rows,
        registered_model_name="slow",
    )
sys.stdout.write(str(logged.registered_model_version))
