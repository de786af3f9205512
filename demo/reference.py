"""Predictions of MLflow itself: `mlflow.pyfunc.load_model(uri).predict` on rows given as JSON, with full MLflow."""

import json
import sys

import mlflow
import pandas as pd

uri, rows = sys.argv[1:]
print(json.dumps(mlflow.pyfunc.load_model(uri).predict(pd.DataFrame(**json.loads(rows))).tolist()))
