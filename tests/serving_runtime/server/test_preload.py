"""Models that are loaded once for all workers, and those that are not."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from serving_runtime.errors import ModelLoadError
from serving_runtime.options import Loader
from serving_runtime.process.cpus import THREADS
from serving_runtime.process.preload import NOT_FORKABLE, UNLESS_ONE_THREAD, load_shared


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


def test_model_that_imports_such_a_package_without_listing_it_is_not_shared(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", object())

    assert load_shared(models / "wine", Loader.AUTO) is None


@pytest.mark.parametrize(("threads", "shared"), [("1", True), ("2", False), (None, False)])
def test_model_of_lightgbm_is_shared_only_if_it_is_read_by_one_thread(
    threads: str | None, *, shared: bool, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "lightgbm", object())
    if threads is None:
        monkeypatch.delenv(THREADS, raising=False)
    else:
        monkeypatch.setenv(THREADS, threads)

    assert (load_shared(models / "wine", Loader.AUTO) is not None) == shared


def test_model_that_does_not_load_is_an_error_at_once(models: Path) -> None:
    with pytest.raises(ModelLoadError, match="the weights are not there"):
        load_shared(models / "broken", Loader.AUTO)
