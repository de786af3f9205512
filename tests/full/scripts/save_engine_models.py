"""Save the models that engines score with. Runs in an environment with full MLflow:
`python save_engine_models.py <directory>`.
"""

import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import ColSpec, Schema, TensorSpec

warnings.simplefilter("ignore")
TARGET = Path(sys.argv[1])
INPUTS = Schema([ColSpec("double", "size"), ColSpec("long", "count"), ColSpec("string", "label")])
PREDICTION = Schema([TensorSpec(np.dtype("float64"), (-1,))])


class Sum(PythonModel):
    """Model that adds size and count. Its loads and batches go to the file MODEL_LOG, if there is one."""

    def load_context(self, context: Any) -> None:
        self.log(f"load {os.getpid()} {context.artifacts['note']}")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        self.log(f"batch {os.getpid()} {len(model_input)}")
        time.sleep(float(os.environ.get("MODEL_SECONDS", "0")))
        return (model_input["size"] + model_input["count"]).to_numpy()

    def log(self, line: str) -> None:
        if path := os.environ.get("MODEL_LOG"):
            with Path(path).open("a", encoding="utf-8") as stream:
                stream.write(f"{line}\n")


class Labels(PythonModel):
    """Model that predicts a text and a number for each row."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input.assign(word=model_input["label"] + "!", score=model_input["size"] * 2)[["word", "score"]]


class Short(PythonModel):
    """Model that drops the rows whose size is negative."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        return model_input.loc[model_input["size"] >= 0, "size"].to_numpy()


note = TARGET / "note.txt"
note.write_text("kept until the model predicts\n")
for name, model, outputs in (
    ("sum", Sum(), PREDICTION),
    ("labels", Labels(), Schema([ColSpec("string", "word"), ColSpec("double", "score")])),
    ("short", Short(), PREDICTION),
    ("unsaid", Short(), None),
):
    save_model(
        TARGET / name,
        python_model=model,
        artifacts={"note": str(note)},
        signature=ModelSignature(inputs=INPUTS, outputs=outputs),
        pip_requirements=["numpy"],
    )
