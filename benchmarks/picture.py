"""Saves a model that takes pictures of 224 x 224 x 3 floats and does next to nothing with them: `python picture.py
<directory>`.
"""

import sys

import numpy as np
from mlflow.models import ModelSignature
from mlflow.pyfunc import save_model
from mlflow.pyfunc.model import PythonModel
from mlflow.types.schema import Schema, TensorSpec


class Brightness(PythonModel):
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # MLflow reads annotations as a signature
        return {"brightness": model_input["pixels"].mean(axis=(1, 2, 3))}


inputs = Schema([TensorSpec(np.dtype("float32"), (-1, 224, 224, 3), "pixels")])
outputs = Schema([TensorSpec(np.dtype("float32"), (-1,), "brightness")])
save_model(
    sys.argv[1],
    python_model=Brightness(),
    signature=ModelSignature(inputs=inputs, outputs=outputs),
    pip_requirements=["numpy"],
)
