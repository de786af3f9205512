"""The places in which the runtime looks for its model."""

import os
import shutil
from pathlib import Path

import pytest

from model_contract.model_ref import InvalidVariableError
from model_delivery.storage import MODEL, STORE
from serving_runtime.errors import ModelNotFoundError
from serving_runtime.location import find_model, resolve_model_path
from serving_runtime.model import load
from serving_runtime.options import Coerce, Loader
from serving_runtime.prediction.warm_up import warm_up_for_merging
from testbed.closed_directory import closed_directory
from testbed.environments import python_of
from testbed.mlflow_server import MODULES
from testbed.processes import completed
from testbed.runtime_server import serving

OWNER_AND_RUN = {"MLFLOW_MODEL_OWNER": "jane.doe", "MLFLOW_RUN_ID": "5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5"}


def make_model(directory: Path) -> Path:
    directory.mkdir(parents=True)
    (directory / "MLmodel").touch()
    return directory


def test_the_explicit_path_wins(tmp_path: Path) -> None:
    model = make_model(tmp_path / "model")

    assert resolve_model_path(OWNER_AND_RUN | {"MLFLOW_ARTIFACTS_PATH": str(model)}) == model


def test_relative_path_is_that_of_the_directory_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model's code may change the working directory while it loads."""
    model = make_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)

    assert resolve_model_path({"MLFLOW_ARTIFACTS_PATH": "model"}) == model


def test_owner_and_run_make_the_path_of_the_contract() -> None:
    with pytest.raises(
        ModelNotFoundError,
        match=r"/artifacts/mlflow/jane.doe/5f0c8e9a3b7d4c61a2e4f6b8d0c1e3a5/artifacts/model; / holds ",
    ):
        resolve_model_path(OWNER_AND_RUN)


def test_an_owner_with_a_path_is_refused() -> None:
    with pytest.raises(InvalidVariableError, match="MLFLOW_MODEL_OWNER"):
        resolve_model_path(OWNER_AND_RUN | {"MLFLOW_MODEL_OWNER": "../x"})


def test_the_only_model_below_the_directory_is_found(tmp_path: Path) -> None:
    model = make_model(tmp_path / "artifacts" / "model")

    assert find_model(tmp_path / "artifacts") == model


def test_several_models_below_are_named(tmp_path: Path) -> None:
    make_model(tmp_path / "a")
    make_model(tmp_path / "b")

    with pytest.raises(ModelNotFoundError, match=r"more than one model \(a, b\); name one of them"):
        find_model(tmp_path)


def test_a_directory_without_a_model_says_what_it_holds(tmp_path: Path) -> None:
    (tmp_path / "weights.bin").touch()

    with pytest.raises(ModelNotFoundError, match=r"there is no MLmodel in .*; it holds weights.bin"):
        find_model(tmp_path)


def test_directory_that_cannot_be_read_is_named() -> None:
    with closed_directory() as closed, pytest.raises(ModelNotFoundError, match="closed/MLmodel cannot be read: Perm"):
        find_model(closed)


def test_a_missing_directory_says_what_there_is_above(tmp_path: Path) -> None:
    (tmp_path / "other-owner").mkdir()

    with pytest.raises(ModelNotFoundError, match=r"there is no directory .*; .* holds other-owner"):
        find_model(tmp_path / "jane" / "run" / "artifacts" / "model")


def linked(model: Path, directory: Path, form: str) -> Path:
    """Return a directory that holds the model by links."""
    match form:
        case "a link to it":
            (directory / "link").symlink_to(model)
            return directory / "link"
        case "a link to a link, with a slash":
            (directory / "first").symlink_to(model)
            (directory / "second").symlink_to("first")
            return directory / "second/"
        case _:  # a mount that `model-api-delivery storage` has filled for KServe
            root = f"{STORE}/{MODEL}/artifacts/model"
            shutil.copytree(model, directory / "mount" / root)
            for entry in model.iterdir():
                (directory / "mount" / entry.name).symlink_to(f"{root}/{entry.name}")
            return directory / "mount"


LINKS = ["a link to it", "a link to a link, with a slash", "links in it"]


@pytest.mark.parametrize("form", LINKS)
@pytest.mark.parametrize("loader", list(Loader))
def test_model_behind_links_is_loaded(form: str, loader: Loader, models: Path, tmp_path: Path) -> None:
    model = load(find_model(linked(models / "wine", tmp_path, form)), loader)

    assert model.native is (loader is not Loader.MLFLOW)
    assert warm_up_for_merging(model).may_merge


@pytest.mark.parametrize("form", LINKS)
def test_model_behind_links_is_served(form: str, models: Path, tmp_path: Path) -> None:
    path = linked(models / "wine", tmp_path, form)
    flags = ("--model-path", str(path), "--workers", "1", "--coerce", Coerce.MLFLOW)
    with serving(models / "wine", *flags, log=tmp_path / "log", environ={"MLFLOW_ARTIFACTS_PATH": ""}) as server:
        body = {"inputs": {"fixed acidity": "7.4", "pH": 3.51, "alcohol": 9.4}}  # a text, which MLflow casts

        assert server.predict(body).status == 200


@pytest.mark.parametrize("version", ["2.22", "3.17", "3.18"])
def test_mlflow_itself_loads_a_mount_for_kserve(version: str, models: Path, older_models: Path, tmp_path: Path) -> None:
    mount = linked((older_models if version == "2.22" else models) / "wine", tmp_path, "links in it")
    code = (
        "import sys, pandas, mlflow, mlflow.sklearn\n"
        "row = pandas.DataFrame([[7.4, 3.51, 9.4]], columns=['fixed acidity', 'pH', 'alcohol'])\n"
        "print(*(load(sys.argv[1]).predict(row) for load in (mlflow.pyfunc.load_model, mlflow.sklearn.load_model)))"
    )
    command = [python_of(f"mlflow-{version}"), "-c", code, mount]
    done = completed(command, env=os.environ, cwd=tmp_path, imported=MODULES)

    assert done.returncode == 0, done.stderr
    first, second = done.stdout.split("] [")
    assert first.strip("[] \n") == second.strip("[] \n")
