"""Asks a server as MLflow's own client does, and the model itself: `python ask_server.py <port> <model>`, answers as
JSON.
"""

import json
import sys

import mlflow
import pandas as pd
from mlflow.pyfunc.scoring_server.client import ScoringServerClient

port, path = sys.argv[1:]
client = ScoringServerClient("127.0.0.1", port)
client.wait_server_ready(timeout=10)
frame = pd.DataFrame({"fixed acidity": [7.4, 6.3], "pH": [3.5, 3.2], "alcohol": [9.4, 10.1]})
answers = {
    "version": client.get_version() == mlflow.__version__,
    "served": client.invoke(frame).get_predictions().iloc[:, 0].tolist(),
    "direct": mlflow.pyfunc.load_model(path).predict(frame).tolist(),
}
print(json.dumps(answers))  # noqa: T201  the answer of this script
