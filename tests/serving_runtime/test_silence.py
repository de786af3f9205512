"""The data that goes through a Domino function stays out of its log."""

import logging
from pathlib import Path

import pytest

from serving_runtime import make_predict
from serving_runtime.errors import ServingError


def test_predict_prints_nothing(
    models: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    predict = make_predict(models / "wine")
    capfd.readouterr()
    predict(vars={"fixed acidity": [7.4071], "pH": [3.5071], "alcohol": [9.4071]})
    with pytest.raises(ServingError):
        predict(vars={"fixed acidity": ["7071"], "pH": [3.5], "alcohol": [9.4]})

    out, err = capfd.readouterr()
    assert (out, "071" in err + caplog.text) == ("", False)
