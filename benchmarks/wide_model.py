"""Time of one row of 4,001 columns of several types: through the runtime, through MLflow, and as a frame by hand.

The model, which MLflow loads, does nothing. Each way begins with the text of the request, in this process.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import mlflow
import orjson
import pandas as pd

from benchmarks.machine import describe
from serving_runtime.codec.strict_json import read_object
from serving_runtime.model import load
from serving_runtime.protocols.mlflow.request import from_document
from testbed.environments import python_of

CELLS: Final = [1.5] * 2000 + [7] * 1000 + ["text"] * 1000 + [True]  # as benchmarks/save_model.py has the columns
BODY: Final = orjson.dumps({"dataframe_split": {"columns": [f"c{n}" for n in range(len(CELLS))], "data": [CELLS]}})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(describe())
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name) / "model"
        script = Path(__file__).with_name("save_model.py")
        subprocess.run([python_of("mlflow-3.17"), script, "wide", directory], check=True, capture_output=True, cwd=name)
        ours, theirs = load(directory), mlflow.pyfunc.load_model(str(directory))
        code = theirs.unwrap_python_model()
        ways: dict[str, Callable[[], Any]] = {
            "model-api-runtime": lambda: ours.predict(from_document(read_object(BODY), ours.metadata.signature)),
            "mlflow.pyfunc": lambda: theirs.predict(frame()),
            "a frame by hand": lambda: code.predict(None, frame()),
        }
        for way, predict in ways.items():
            print(f"  {way:<24}{milliseconds(predict, options.rounds):>10.2f} ms")


def frame() -> pd.DataFrame:
    split = orjson.loads(BODY)["dataframe_split"]
    return pd.DataFrame(split["data"], columns=split["columns"])


def milliseconds(predict: Callable[[], Any], rounds: int) -> float:
    """Return the median, after a first call that is not counted."""
    predict()
    seconds = []
    for _ in range(rounds):
        began = time.process_time()
        predict()
        seconds.append(time.process_time() - began)
    return statistics.median(seconds) * 1000


if __name__ == "__main__":
    main()
