"""Trains a small model and registers versions of it, as a person does through the gate; prints the versions and the run as JSON.

Runs with the full MLflow: `register_wine.py NAME VERSIONS [no-example]`.
"""

import json
import sys
import warnings

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression


def main(name: str, versions: str, *options: str) -> None:
    warnings.simplefilter("ignore")
    wines = pd.DataFrame({"alcohol": [9.4, 10.1, 12.8, 11.0], "pH": [3.51, 3.2, 3.26, 3.16]})
    client = mlflow.MlflowClient()
    mlflow.set_experiment(name)
    made = []
    for number in range(int(versions)):
        with mlflow.start_run() as run:
            model = LinearRegression().fit(wines, np.array([5.0, 5.0, 6.0, 6.0]) + number)
            example = {} if "no-example" in options else {"input_example": wines.head(2)}
            signature = infer_signature(wines, model.predict(wines))
            logged = mlflow.sklearn.log_model(model, name="model", signature=signature, registered_model_name=name, **example)
        made.append({"version": str(logged.registered_model_version), "run_id": run.info.run_id, "model_id": logged.model_id})
    client.set_registered_model_tag(name, "trained", "yes")
    print(json.dumps({"name": name, "versions": made, "predictions": model.predict(wines.head(2)).tolist()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
