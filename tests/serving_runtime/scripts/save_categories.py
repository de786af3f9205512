"""Save models of LightGBM and XGBoost that were trained on pandas' categories, and what they predict for four rows."""

import sys
import warnings
from pathlib import Path

import lightgbm
import mlflow
import numpy as np
import pandas as pd
import xgboost
from mlflow.models import infer_signature

warnings.simplefilter("ignore")
target = Path(sys.argv[1])
frame = pd.DataFrame(
    {
        "n": np.arange(200.0) % 7,
        "c": pd.Categorical(["x", "y", "z", "x"] * 50),
        "k": pd.Categorical([3, 5, 9, 3] * 50),
    }
)
y = np.arange(200) % 4
matrix = xgboost.DMatrix(frame, y, enable_categorical=True)
booster = xgboost.train({}, matrix, 2)
models = {
    "lightgbm": (lightgbm.train({"verbose": -1, "num_leaves": 4}, lightgbm.Dataset(frame, y), 3), mlflow.lightgbm),
    "lightgbm-sklearn": (lightgbm.LGBMRegressor(n_estimators=3, verbose=-1).fit(frame, y), mlflow.lightgbm),
    "xgboost": (booster, mlflow.xgboost),
    "xgboost-sklearn": (xgboost.XGBRegressor(n_estimators=2, enable_categorical=True).fit(frame, y), mlflow.xgboost),
}
for name, (model, flavor) in models.items():
    predicted = booster.predict(matrix) if name == "xgboost" else model.predict(frame)
    for suffix, extra in (("", {"input_example": frame.head(4)}), ("-without-example", {})):
        signature = infer_signature(frame, predicted)
        flavor.save_model(model, target / f"{name}{suffix}", signature=signature, pip_requirements=[], **extra)
    np.save(target / f"{name}.npy", predicted[:4])
