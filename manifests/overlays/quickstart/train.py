"""The work of the data scientist's notebook: trains the wine-quality ElasticNet, logs it, registers it, with Domino's
tags.

Runs in an environment with the full MLflow; prints the registered version as JSON. The data is made here: eleven
measures of a wine and a quality that depends on some of them, so that the demo needs no download.
"""

import json
import sys
import warnings

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import ElasticNet
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.model_selection import train_test_split

COLUMNS = {  # mean and standard deviation, as a laboratory would find them
    "fixed acidity": (8.3, 1.7),
    "volatile acidity": (0.53, 0.18),
    "citric acid": (0.27, 0.19),
    "residual sugar": (2.5, 1.4),
    "chlorides": (0.087, 0.047),
    "free sulfur dioxide": (15.9, 10.5),
    "total sulfur dioxide": (46.5, 32.9),
    "density": (0.9967, 0.0019),
    "pH": (3.31, 0.15),
    "sulphates": (0.66, 0.17),
    "alcohol": (10.4, 1.07),
}


def wines(count: int) -> pd.DataFrame:
    random = np.random.default_rng(40)
    frame = pd.DataFrame(
        {name: random.normal(mean, deviation, count).clip(0).round(4) for name, (mean, deviation) in COLUMNS.items()}
    )
    taste = (
        0.3 * (frame["alcohol"] - 10.4) - 1.1 * (frame["volatile acidity"] - 0.53) + 0.9 * (frame["sulphates"] - 0.66)
    )
    frame["quality"] = (5.6 + taste + random.normal(0, 0.6, count)).clip(3, 8).round()
    return frame


def main(name: str, user: str, project_id: str, project_name: str) -> None:
    warnings.simplefilter("ignore")
    data = wines(1600)
    features, quality = data.drop(columns="quality"), data["quality"]
    train_x, test_x, train_y, test_y = train_test_split(features, quality, random_state=40)
    tags = {
        "mlflow.domino.user": user,
        "mlflow.domino.project_id": project_id,
        "mlflow.domino.project_name": project_name,
    }
    mlflow.set_experiment("wine-quality")
    with mlflow.start_run(tags=tags) as run:
        model = ElasticNet(alpha=0.05, l1_ratio=0.5, random_state=42).fit(train_x, train_y)
        predicted = model.predict(test_x)
        mlflow.log_params({"alpha": 0.05, "l1_ratio": 0.5})
        mlflow.log_metrics(
            {"rmse": float(np.sqrt(mean_squared_error(test_y, predicted))), "r2": float(r2_score(test_y, predicted))}
        )
        signature = infer_signature(train_x, model.predict(train_x))
        logged = mlflow.sklearn.log_model(
            model, name="model", signature=signature, input_example=test_x.head(2), registered_model_name=name
        )
    client = mlflow.MlflowClient()
    for key, value in tags.items():
        client.set_model_version_tag(name, logged.registered_model_version, key, value)
    sample = test_x.head(3).to_dict("split")
    print(json.dumps({"version": str(logged.registered_model_version), "run_id": run.info.run_id, "sample": sample}))


if __name__ == "__main__":
    main(*sys.argv[1:])
