"""Print the prediction of `mlflow.pyfunc` for rows in JSON. It runs in the environment with the full MLflow."""

import json
import sys

import mlflow
import pandas as pd

uri, rows = sys.argv[1:]
print(json.dumps(mlflow.pyfunc.load_model(uri).predict(pd.DataFrame(**json.loads(rows))).tolist()))
