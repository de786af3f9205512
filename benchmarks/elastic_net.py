"""Saves an ElasticNet of eleven columns, as the seed notebook trains it: `python elastic_net.py <directory>`, with the
full MLflow.
"""

import sys

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import ElasticNet

COLUMNS = [f"measure {number}" for number in range(11)]

random = np.random.default_rng(7)
frame = pd.DataFrame(random.normal(size=(1000, len(COLUMNS))), columns=COLUMNS)
model = ElasticNet(alpha=0.05).fit(frame, frame.to_numpy() @ random.normal(size=len(COLUMNS)))
mlflow.sklearn.save_model(
    model,
    sys.argv[1],
    signature=infer_signature(frame, model.predict(frame)),
    input_example=frame.head(1),
    serialization_format=mlflow.sklearn.SERIALIZATION_FORMAT_CLOUDPICKLE,
)
