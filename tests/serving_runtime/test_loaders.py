"""Models that are loaded without MLflow predict what they predict with it."""

import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import mlflow.lightgbm
import mlflow.sklearn
import mlflow.xgboost
import numpy as np
import pandas as pd
import pytest
import xgboost
from mlflow.models import infer_signature
from sklearn.linear_model import LogisticRegression

from serving_runtime.errors import InvalidInputError, ModelLoadError
from serving_runtime.input.request import Request, TypedFrame
from serving_runtime.model import load
from serving_runtime.options import Loader
from serving_runtime.prediction.comparison import predict_same

RANDOM = np.random.default_rng(7)
FRAME = pd.DataFrame({"a": RANDOM.normal(size=60), "b": RANDOM.normal(size=60), "c": RANDOM.normal(size=60)})
CLASSES = (FRAME["a"] > FRAME["b"]).astype("int64")
LIGHT = {"n_estimators": 5, "verbose": -1, "n_jobs": 1}
Save = Callable[[Path], None]


def saved(flavor: Any, model: Any, **more: Any) -> Save:
    def save(path: Path) -> None:
        signature = infer_signature(FRAME, np.zeros(1))
        flavor.save_model(
            model, str(path), signature=signature, input_example=FRAME.head(2), pip_requirements=[], **more
        )

    return save


def boosters() -> dict[str, Save]:
    classifier = LogisticRegression().fit(FRAME, CLASSES)
    trees = xgboost.XGBClassifier(n_estimators=5, n_jobs=1).fit(FRAME, CLASSES)
    leaves = lightgbm.LGBMRegressor(**LIGHT).fit(FRAME, FRAME["a"])
    return {
        "scikit-learn in skops": saved(mlflow.sklearn, classifier, serialization_format="skops"),
        "scikit-learn in cloudpickle": saved(mlflow.sklearn, classifier, serialization_format="cloudpickle"),
        "scikit-learn in pickle": saved(mlflow.sklearn, classifier, serialization_format="pickle"),
        "probabilities of scikit-learn": saved(mlflow.sklearn, classifier, pyfunc_predict_fn="predict_proba"),
        "an XGBoost classifier": saved(mlflow.xgboost, trees),
        "an XGBoost booster": saved(mlflow.xgboost, trees.get_booster()),
        "a LightGBM regressor": saved(mlflow.lightgbm, leaves, serialization_format="cloudpickle"),
        "a LightGBM booster": saved(mlflow.lightgbm, leaves.booster_),
    }


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    directory = tmp_path_factory.mktemp("native")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = boosters()
        for number, save in enumerate(models.values()):
            save(directory / str(number))
    return {name: directory / str(number) for number, name in enumerate(models)}


NAMES = (
    *(
        "scikit-learn in skops",
        "scikit-learn in cloudpickle",
        "scikit-learn in pickle",
        "probabilities of scikit-learn",
    ),
    *("an XGBoost classifier", "an XGBoost booster", "a LightGBM regressor", "a LightGBM booster"),
)


@pytest.mark.parametrize("name", NAMES)
def test_model_predicts_the_same_with_and_without_mlflow(saved_models: dict[str, Path], name: str) -> None:
    native, usual = load(saved_models[name], Loader.AUTO), load(saved_models[name], Loader.MLFLOW)

    assert (native.native, usual.native) == (True, False)
    assert predict_same(native, usual)
    request = Request(input=TypedFrame(frame=FRAME))
    np.testing.assert_array_equal(native.predict(request), usual.predict(request))


def test_nothing_of_mlflow_is_imported_for_native_models(saved_models: dict[str, Path]) -> None:
    program = (
        "import sys; from pathlib import Path; from serving_runtime.model import load; from"
        " serving_runtime.options import Loader; from serving_runtime.prediction.warm_up import warm_up\n"
        "for path in sys.argv[1:]: warm_up(load(Path(path), Loader.AUTO))\nprint('mlflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *saved_models.values()], capture_output=True, text=True, check=True
    )

    assert done.stdout == "False\n"


def test_frame_that_came_with_types_is_checked_all_the_same(saved_models: dict[str, Path]) -> None:
    native = load(saved_models["an XGBoost booster"], Loader.AUTO)
    wrong = FRAME.assign(b="text").drop(columns="c")

    with pytest.raises(InvalidInputError, match='"c" is missing'):
        native.predict(Request(input=TypedFrame(frame=wrong)))
    with pytest.raises(InvalidInputError, match=r"frame\.b\[0\]"):
        native.predict(Request(input=TypedFrame(frame=wrong.assign(c=1.0))))


@pytest.mark.parametrize(
    ("old", "new"),
    [("model.pkl", "../outside.pkl"), ("serialization_format: pickle", "serialization_format: dill")],
    ids=["a file that is not the model's", "an unknown format"],
)
def test_model_file_that_names_what_is_not_there_is_refused(
    saved_models: dict[str, Path], tmp_path: Path, old: str, new: str
) -> None:
    source = saved_models["scikit-learn in pickle"]
    for file in source.iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(
                file.read_bytes().replace(old.encode(), new.encode()) if file.name == "MLmodel" else file.read_bytes()
            )

    with pytest.raises(ModelLoadError):
        load(tmp_path, Loader.AUTO)


def test_switch_of_mlflow_that_forbids_pickles_is_left_to_mlflow(
    saved_models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")

    with pytest.raises(ModelLoadError, match="MLFLOW_ALLOW_PICKLE_DESERIALIZATION"):
        load(saved_models["scikit-learn in pickle"], Loader.AUTO)


def test_model_with_code_of_its_own_is_loaded_by_mlflow(models: Path) -> None:
    assert not load(models / "scalars", Loader.AUTO).native
    with pytest.raises(ModelLoadError, match="cannot be loaded without MLflow"):
        load(models / "scalars", Loader.NATIVE)
