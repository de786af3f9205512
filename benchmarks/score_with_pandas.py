"""Score a file as a data scientist would in a few lines: arguments are the model, the rows and the output."""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import mlflow  # noqa: E402  after the filter, which its import needs
import pandas as pd  # noqa: E402  as above

model, source, output = sys.argv[1:]
rows = pd.read_csv(source) if Path(source).suffix == ".csv" else pd.read_parquet(source)
pd.DataFrame({"prediction": mlflow.pyfunc.load_model(model).predict(rows)}).to_parquet(output)
