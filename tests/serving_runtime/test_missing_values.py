"""NaN, which Python's JSON writer puts where a frame or a list lacks a value, reaches the model as MLflow gives it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from serving_runtime.errors import InvalidInputError
from serving_runtime.model import load
from testbed.runtime_core import answer

SCALARS = {
    "boolean": [True, np.nan],
    "float": [0.5, np.nan],
    "double": [0.1, np.nan],
    "string": ["a", np.nan],
    "binary": ["YQ==", np.nan],
    "datetime": ["2024-01-31T00:00:00", np.nan],
}


def seen(models: Path, name: str, content: Any) -> Any:
    """Return what the model was called with."""
    return json.loads(answer(load(models / name), json.dumps(content).encode(), None))["predictions"]["input"]


def columns(models: Path, name: str, content: Any) -> dict[str, Any]:
    return {name: cells for name, _, cells in seen(models, name, content)["frame"]}


def test_frame_that_mlflows_client_sends_has_nulls_for_its_missing_values(models: Path) -> None:
    frame = pd.DataFrame({"id": [1, 2], **SCALARS}).astype({"boolean": object})
    sent = {"dataframe_split": frame.to_dict(orient="split")}  # as `dump_input_data` of MLflow's client
    assert "NaN" in json.dumps(sent)
    nulls = json.loads(frame.to_json(orient="split"))

    assert columns(models, "optional", sent) == columns(models, "optional", {"dataframe_split": nulls})


@pytest.mark.parametrize("cells", [[0.5, np.nan], [np.nan, np.nan]])
def test_model_without_a_signature_gets_nan_as_a_float(cells: list[float], models: Path) -> None:
    written = [f"float {cell!r}" for cell in cells]
    split = {"columns": ["x"], "data": [[cell] for cell in cells]}

    assert seen(models, "free", {"dataframe_split": split})["frame"] == [["x", "float64", written]]
    assert seen(models, "free", {"inputs": cells}) == {"array": "float64", "shape": [2], "values": written}


def test_tensor_of_floats_holds_nan_and_one_of_whole_numbers_refuses_it(models: Path) -> None:
    assert seen(models, "tensor", {"inputs": [[0.5, np.nan, 1]]})["values"] == ["float 0.5", "float nan", "float 1.0"]
    with pytest.raises(InvalidInputError) as refused:
        seen(models, "tensors", {"inputs": {"ids": [[1, np.nan]], "mask": [True]}})
    assert [(fault.path, fault.got) for fault in refused.value.faults] == [("inputs.ids[0][1]", "null")]


def test_whole_number_refuses_nan_at_its_place(models: Path) -> None:
    with pytest.raises(InvalidInputError) as refused:
        seen(models, "one-long", {"dataframe_records": [{"x": 1}, {"x": np.nan}]})
    assert [(fault.path, fault.got) for fault in refused.value.faults] == [("dataframe_records[1].x", "null")]


def test_parameter_is_nan(models: Path) -> None:
    body = json.dumps({"dataframe_records": [{"x": 1}], "params": {"scale": np.nan}}).encode()
    predictions = json.loads(answer(load(models / "params"), body, None))["predictions"]

    assert predictions["params"]["scale"] == "float nan"
