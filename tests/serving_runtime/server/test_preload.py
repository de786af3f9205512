"""Models that are loaded once for all workers, and those that are not."""

import gc
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from serving_runtime.errors import ModelLoadError
from serving_runtime.options import Loader
from serving_runtime.process.cpus import THREADS
from serving_runtime.process.fresh_start import UnsafeForkError
from serving_runtime.process.preload import NOT_FORKABLE, UNLESS_ONE_THREAD, load_shared

WITH_A_THREAD = """
from concurrent.futures import ThreadPoolExecutor

POOL = ThreadPoolExecutor(1)

class Model:
    def predict(self, data):
        return POOL.submit(list, data).result()

def _load_pyfunc(path):
    POOL.submit(print).result()
    return Model()
"""


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process of its own: what other tests have loaded is not there, and what a test freezes would stay for the
    rest of the run.
    """
    for name in NOT_FORKABLE | UNLESS_ONE_THREAD:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    gc.unfreeze()


def test_model_is_loaded_once_for_all(models: Path) -> None:
    model = load_shared(models / "wine", Loader.AUTO)

    assert model is not None
    assert gc.get_freeze_count() > 0


def test_model_with_a_package_that_breaks_after_a_fork_is_not_preloaded(hard_models: Path) -> None:
    assert load_shared(hard_models / "not-to-be-copied", Loader.AUTO) is None


@pytest.mark.parametrize("flavor", ["fastai", "h2o", "paddle", "sentence_transformers", "spark", "transformers"])
def test_flavor_of_such_a_package_is_not_preloaded(flavor: str, models: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(models / "wine", tmp_path / "model"))
    document = yaml.safe_load((copied / "MLmodel").read_text())
    document["flavors"][flavor] = {}
    (copied / "MLmodel").write_text(yaml.safe_dump(document))
    (copied / "requirements.txt").write_text("pandas\n")

    assert load_shared(copied, Loader.AUTO) is None


def test_process_with_a_package_that_is_in_no_requirements_is_not_forked(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", object())

    with pytest.raises(UnsafeForkError, match="torch"):
        load_shared(models / "wine", Loader.AUTO)


@pytest.mark.parametrize(("threads", "shared"), [("1", True), ("2", False), (None, False)])
def test_model_of_lightgbm_is_shared_only_if_it_is_read_by_one_thread(
    threads: str | None, *, shared: bool, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", object())
    if threads is None:
        monkeypatch.delenv(THREADS, raising=False)
    else:
        monkeypatch.setenv(THREADS, threads)

    with nullcontext() if shared else pytest.raises(UnsafeForkError, match="lightgbm"):
        assert load_shared(models / "wine", Loader.AUTO) is not None


def test_process_in_which_the_models_code_has_begun_a_thread_is_not_forked(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model_with_a_thread.py").write_text(WITH_A_THREAD)
    function = {"loader_module": "model_with_a_thread", "code": "code"}
    (tmp_path / "MLmodel").write_text(yaml.safe_dump({"flavors": {"python_function": function}}))

    with pytest.raises(UnsafeForkError, match="thread"):
        load_shared(tmp_path, Loader.MLFLOW)

    sys.modules.pop("model_with_a_thread").POOL.shutdown()


def test_missing_example_for_which_mlflow_begins_a_thread_leaves_the_model_shared(tmp_path: Path) -> None:
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "model_of_lists.py").write_text(
        "def _load_pyfunc(path): return type('M', (), {'predict': list})()"
    )
    function = {"loader_module": "model_of_lists", "code": "code"}
    example = {"artifact_path": "gone.json", "type": "dataframe", "pandas_orient": "split"}
    (tmp_path / "MLmodel").write_text(
        yaml.safe_dump({"flavors": {"python_function": function}, "saved_input_example_info": example})
    )

    assert load_shared(tmp_path, Loader.MLFLOW) is not None


def test_second_start_has_the_same_arguments_and_directory_and_says_that_each_worker_loads(tmp_path: Path) -> None:
    program = (
        "import os, sys; from serving_runtime.process.fresh_start import *; from pathlib import Path;"
        "print(sys.argv[1:], each_worker_loads(os.environ), os.getcwd()); here = Path.cwd(); os.chdir('/');"
        "each_worker_loads(os.environ) or start_again(os.environ, here)"
    )

    command = [sys.executable, "-c", program, "serve"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout

    assert said.splitlines() == [f"['serve'] False {tmp_path}", f"['serve'] True {tmp_path}"]


def test_model_that_does_not_load_is_an_error_at_once(models: Path) -> None:
    with pytest.raises(ModelLoadError, match="the weights are not there"):
        load_shared(models / "broken", Loader.AUTO)
