"""Save one model for each kind of input example that MLflow stores; the model answers with the kind of what it is
given. In `answers.json` are the answers of MLflow's own scoring server to the stored examples.
"""

import datetime
import decimal
import json
import sys
import warnings
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import scipy.sparse
from ask_mlflow import ask
from mlflow.models import infer_signature

warnings.simplefilter("ignore")
NAN = float("nan")
DAY = datetime.date(2024, 1, 31)
NOON = datetime.datetime(2024, 1, 31, 12)  # noqa: DTZ001  MLflow has no time zones
FRAME = pd.DataFrame
EXAMPLES: dict[str, Any] = {
    "floats": FRAME({"a": [1.5, 2.5]}),
    "floats-with-nan": FRAME({"a": [1.5, NAN], "b": [1, 2]}),
    "floats-all-nan": FRAME({"a": [NAN, NAN], "b": [1, 2]}),
    "floats-with-infinity": FRAME({"a": [1.5, np.inf, -np.inf]}),
    "floats-single-with-nan": FRAME({"a": np.array([1.5, NAN, np.inf], dtype="float32")}),
    "whole-numbers": FRAME({"a": np.array([1, 2], dtype="int32"), "b": [2**60, 1]}),
    "unsigned": FRAME({"a": np.array([1, 2], dtype="uint8")}),
    "booleans": FRAME({"a": [True, False]}),
    "booleans-with-null": FRAME({"a": [True, None], "b": [1, 2]}),
    "texts": FRAME({"a": ["x", "y"]}),
    "texts-with-null": FRAME({"a": ["x", None], "b": [1.0, 2.0]}),
    "texts-all-null": FRAME({"a": ["x", "y"], "b": [None, None]}),
    "texts-with-nan": FRAME({"a": ["x", NAN]}),
    "texts-with-lines": FRAME({"a": ["x\ny", "\u2603\U0001f600\x00"]}),
    "times": FRAME({"a": pd.to_datetime(["2024-01-31T12:00:00", "2024-02-01T00:00:00"])}),
    "times-with-nat": FRAME({"a": pd.to_datetime(["2024-01-31", None]), "b": [1, 2]}),
    "times-of-a-zone": FRAME({"a": pd.to_datetime(["2024-01-31T12:00:00+01:00"]).tz_convert("Europe/Berlin")}),
    "dates": FRAME({"a": [DAY]}),
    "bytes-short": FRAME({"a": [b"abc"]}),
    "bytes-long": FRAME({"a": [bytes(range(256)), b"\x00" * 100]}),
    "bytes-with-null": FRAME({"a": [b"x" * 80, None]}),
    "nullable-whole": FRAME({"a": pd.array([1, 2], dtype="Int64")}),
    "nullable-whole-with-na": FRAME({"a": pd.array([1, None], dtype="Int64"), "b": [1.0, 2.0]}),
    "nullable-booleans": FRAME({"a": pd.array([True, None], dtype="boolean"), "b": [1.0, 2.0]}),
    "nullable-floats": FRAME({"a": pd.array([1.5, None], dtype="Float64"), "b": [1.0, 2.0]}),
    "nullable-texts": FRAME({"a": pd.array(["x", None], dtype="string"), "b": [1.0, 2.0]}),
    "categories": FRAME({"a": pd.Categorical(["x", "y"]), "b": [1.0, 2.0]}),
    "categories-of-numbers": FRAME({"a": pd.Categorical([3, 5]), "b": [1.0, 2.0]}),
    "categories-with-null": FRAME({"a": pd.Categorical(["x", None]), "b": [1.0, 2.0]}),
    "decimals": FRAME({"a": [decimal.Decimal("1.5")]}),
    "unnamed": FRAME([[1.0, 2.0], [3.0, 4.0]]),
    "unnamed-texts": FRAME([[1.0, "x"], [3.0, None]]),
    "names-of-numbers": FRAME([[1.0, 2.0]], columns=[1, 2]),
    "names-of-floats": FRAME([[1.0, 2.0]], columns=[0.5, 1.5]),
    "names-of-tuples": FRAME([[1.0, 2.0]], columns=[("a", 1), ("a", 2)]),
    "names-mixed": FRAME([[1.0, 2.0]], columns=[0, "b"]),
    "names-odd": FRAME([[1.0, 2.0, 3.0, 4.0]], columns=["", 'a"b', "c\nd", "\u2603"]),
    "name-none": FRAME([[1.0, 2.0]], columns=[None, "b"]),
    "names-twice": FRAME([[1.0, 2.0]], columns=["a", "a"]),
    "names-of-times": FRAME([[1.0, 2.0]], columns=pd.to_datetime(["2024-01-01", "2024-01-02"])),
    "row-names": FRAME({"a": [1.0, 2.0]}, index=["r", "s"]),
    "no-rows": FRAME({"a": np.array([], dtype="float64")}),
    "lists-in-cells": FRAME({"a": [[1.0, 2.0], [3.0]]}),
    "lists-in-cells-with-nan": FRAME({"a": [[1.0, NAN], [3.0, np.inf]]}),
    "arrays-in-cells": FRAME({"a": [np.array([1.0, 2.0]), np.array([3.0])]}),
    "objects-in-cells": FRAME({"a": [{"x": 1, "y": "s"}, {"x": 2, "y": "t"}]}),
    "objects-in-cells-with-null": FRAME({"a": [{"x": 1, "y": "s"}, {"x": 2}]}),
    "bytes-in-lists": FRAME({"a": [[b"x" * 80]]}),
    "times-in-lists": FRAME({"a": [[NOON]]}),
    "tensor": np.array([[1.5, 2.5]]),
    "tensor-with-nan": np.array([[1.5, NAN]]),
    "tensor-with-infinity": np.array([[1.5, np.inf]]),
    "tensor-of-singles": np.array([[1.5, NAN, np.inf]], dtype="float32"),
    "tensor-of-whole": np.arange(4).reshape(2, 2),
    "tensor-of-booleans": np.array([True, False]),
    "tensor-of-texts": np.array(["x", "yy"]),
    "tensor-of-objects": np.array(["x", None], dtype=object),
    "tensor-of-bytes": np.array([b"x", b"yy"]),
    "tensor-of-dates": np.array(["2024-01-31", "2024-02-01"], dtype="datetime64[D]"),
    "tensor-of-times": np.array(["2024-01-31T12:00", "2024-02-01"], dtype="datetime64[s]"),
    "tensor-of-times-with-nat": np.array(["2024-01-31T12:00", "NaT"], dtype="datetime64[ns]"),
    "tensor-empty": np.zeros((0, 2)),
    "tensor-deep": np.zeros((2, 1, 3, 1)),
    "tensors": {"a": np.array([[1.5], [2.5]]), "b": np.array([1, 2])},
    "tensors-with-nan": {"a": np.array([[1.5], [NAN]]), "b": np.array([np.inf, 1.0])},
    "sparse-rows": scipy.sparse.csr_matrix([[1.0, 0.0], [0.0, 2.0]]),
    "sparse-columns": scipy.sparse.csc_matrix([[1.0, 0.0], [0.0, 2.0]]),
    "dict-of-scalars": {"a": 1, "b": "x"},
    "dict-with-nan": {"a": NAN, "b": "x"},
    "dict-of-lists": {"a": [1, 2], "b": ["x", "y"]},
    "dict-nested": {"a": {"b": [1, 2], "c": {"d": "x"}}},
    "list-of-dicts": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}],
    "list-of-dicts-uneven": [{"a": 1, "b": "x"}, {"a": 2}],
    "list-of-texts": ["x", "y"],
    "list-of-numbers": [1, 2, 3],
    "list-of-floats-with-nan": [1.5, NAN],
    "list-of-lists": [[1, 2], [3, 4]],
    "list-of-bytes": [b"x" * 80],
    "list-of-times": [NOON],
    "scalar-text": "hello",
    "scalar-number": 3,
    "scalar-float": 1.5,
    "scalar-nan": NAN,
    "scalar-boolean": True,
    "scalar-bytes": b"x" * 80,
    "scalar-time": NOON,
    "messages": {"messages": [{"role": "user", "content": "hi"}]},
    "with-params": (FRAME({"a": [1.5, NAN]}), {"t": 0.5, "k": 3}),
    "with-params-of-lists": (["x", "y"], {"t": [0.5, 1.5], "s": "x"}),
    "with-params-not-finite": (FRAME({"a": [1.5]}), {"t": float("inf")}),
}


def told(value: Any) -> Any:
    """The types and values of it, in a form that two processes can compare."""
    if isinstance(value, pd.DataFrame):
        return [
            "frame",
            [repr(name) for name in value.columns],
            [told(value.iloc[:, at].tolist()) for at in range(value.shape[1])],
        ]
    if isinstance(value, np.ndarray):
        return ["array", str(value.dtype), list(value.shape), told(value.ravel().tolist())]
    if isinstance(value, np.generic) and value.dtype.kind in "USiufb":  # MLflow 2 has numpy's scalars in some cells
        return told(value.item())
    if isinstance(value, dict):
        return ["dict", [[str(key), told(item)] for key, item in value.items()]]
    if isinstance(value, list | tuple):
        return [told(item) for item in value]
    if value is None or value is pd.NaT or value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return "null"
    return f"{type(value).__name__} {value}"


class Told(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined,misc]  # MLflow's annotations are partial
    def predict(self, context: Any, model_input, params=None):  # type: ignore[no-untyped-def]  # a hint would be a signature
        return [json.dumps([told(model_input), told(params)])]


def main(directory: Path) -> None:
    reasons = {}
    for name, example in EXAMPLES.items():
        for suffix in ("", "-free"):
            data, params = example if isinstance(example, tuple) else (example, None)
            try:
                signature = infer_signature(data, params=params) if not suffix else False
                mlflow.pyfunc.save_model(
                    directory / f"{name}{suffix}",
                    python_model=Told(),
                    input_example=example,
                    signature=signature,
                    pip_requirements=[],
                )
            except Exception as error:  # noqa: BLE001  a kind that MLflow does not store
                reasons[name + suffix] = f"{type(error).__name__}: {error}"[:200]
    (directory / "reasons.json").write_text(json.dumps(reasons))
    saved = sorted(path.parent for path in directory.glob("*/MLmodel") if path.stat().st_size)
    examples = [(model, model / "serving_input_example.json") for model in saved]
    answers = {
        model.name: ask(model, "application/json", example.read_text())
        for model, example in examples
        if example.exists()
    }
    (directory / "answers.json").write_text(json.dumps(answers))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
