"""Registers four versions of `wine`, of two runs, and the model `slow`; prints runs and rows as JSON.

    python register_served_models.py <the quickstart's train.py>

Each call of `slow` takes a twentieth of a second, however many rows it has. Version 2 is production, 4 is deleted.
"""

import contextlib
import io
import json
import runpy
import sys
import time
from typing import Any

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel

MODEL = "wine"


class Slow(PythonModel):
    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> Any:
        time.sleep(0.05)
        return model_input["x"]


def wine(script: str) -> dict[str, Any]:
    """Train and register a version and, from the same run, the next one."""
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        runpy.run_path(script)["main"](MODEL, "jane.doe", "wines", MODEL)
    made: dict[str, Any] = json.loads(printed.getvalue().splitlines()[-1])
    mlflow.MlflowClient().create_model_version(MODEL, f"runs:/{made['run_id']}/model", made["run_id"])
    return made


def slow() -> None:
    rows = pd.DataFrame({"x": [1.0, 2.0]})
    with mlflow.start_run():
        mlflow.pyfunc.log_model(
            name="model",
            python_model=Slow(),
            signature=infer_signature(rows, rows["x"]),
            input_example=rows,
            registered_model_name="slow",
        )


def main(script: str) -> None:
    first, second = wine(script), wine(script)
    slow()
    client = mlflow.MlflowClient()
    client.set_registered_model_alias(MODEL, "production", "2")
    client.delete_model_version(MODEL, "4")
    runs = {"1": first["run_id"], "2": first["run_id"], "3": second["run_id"]}
    sys.stdout.write(f"\n{json.dumps({'runs': runs})}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
