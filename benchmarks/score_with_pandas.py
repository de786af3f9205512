"""Score a file as a data scientist would in a few lines: arguments are the model, the rows and the output."""

import sys
import warnings
from pathlib import Path

warnings.simplefilter("ignore")
import mlflow  # noqa: E402  after the filter, which its import needs
import pandas as pd  # noqa: E402  as above

TEXTS = {"code": str, "city": str}  # of the mixed table; else 00123 would be a number
TIMES = ["day", "bought"]

model, source, output = sys.argv[1:]
if Path(source).suffix == ".csv":
    is_mixed = TEXTS.keys() <= set(pd.read_csv(source, nrows=0).columns)
    rows = pd.read_csv(source, dtype=TEXTS, parse_dates=TIMES) if is_mixed else pd.read_csv(source)
else:
    rows = pd.read_parquet(source)
pd.DataFrame({"prediction": mlflow.pyfunc.load_model(model).predict(rows)}).to_parquet(output)
