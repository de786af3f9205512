"""Train a small model, register versions of it through the gate, and print the first one's predictions as JSON.

Runs with the full MLflow: `register_wine.py NAME COUNT [no-example]`.
"""

import json
import sys
import warnings

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression


def main(name: str, count: str, *options: str) -> None:
    warnings.simplefilter("ignore")
    wines = pd.DataFrame({"alcohol": [9.4, 10.1, 12.8, 11.0], "pH": [3.51, 3.2, 3.26, 3.16]})
    mlflow.set_experiment(name)
    versions: list[dict[str, str]] = []
    predictions: list[list[float]] = []
    for number in range(int(count)):
        with mlflow.start_run() as run:
            model = LinearRegression().fit(wines, np.array([5.0, 5.0, 6.0, 6.0]) + number)
            example = {} if "no-example" in options else {"input_example": wines.head(2)}
            signature = infer_signature(wines, model.predict(wines))
            # Named requirements: MLflow would look for them in a process of its own, which takes long.
            logged = mlflow.sklearn.log_model(
                model,
                "model",
                signature=signature,
                pip_requirements=["scikit-learn"],
                registered_model_name=name,
                **example,
            )
        predictions.append(model.predict(wines.head(2)).tolist())
        versions.append({"version": str(logged.registered_model_version), "run_id": run.info.run_id})
    print(json.dumps({"name": name, "versions": versions, "predictions": predictions[0]}))  # noqa: T201  what the test reads


if __name__ == "__main__":
    main(*sys.argv[1:])
