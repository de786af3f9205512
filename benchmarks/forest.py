"""Saves a forest of 300 trees over eleven columns, where the model is the cost: `python forest.py <directory>`, with
the full MLflow.
"""

import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.ensemble import RandomForestRegressor

COLUMNS = [f"measure {number}" for number in range(11)]

random = np.random.default_rng(7)
frame = pd.DataFrame(random.normal(size=(2000, len(COLUMNS))), columns=COLUMNS)
model = RandomForestRegressor(n_estimators=300, max_depth=12, n_jobs=1, random_state=7).fit(frame, frame.sum(axis=1))
mlflow.sklearn.save_model(
    model,
    sys.argv[1],
    signature=infer_signature(frame, model.predict(frame)),
    input_example=frame.head(1),
    serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
)
