"""The model that workers get: loaded once and shared through the fork, or loaded by each worker if that is not safe."""

import gc
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from serving_runtime.errors import ServingError
from serving_runtime.example import example_problem
from serving_runtime.mlmodel import read_metadata
from serving_runtime.model import Model, load
from serving_runtime.options import Loader
from serving_runtime.process.cpus import THREADS
from serving_runtime.requirements import check_match

# These packages, once loaded, hold threads, locks or a GPU that a forked process does not get:
# https://pytorch.org/docs/stable/notes/multiprocessing.html XGBoost reads a model with OpenMP's threads; with more than
# one of them, a forked process waits without end for the others in its first prediction.
NOT_FORKABLE: Final = frozenset({"jax", "keras", "onnxruntime", "tensorflow", "torch", "xgboost", "xgboost-cpu"})
# LightGBM reads a model with OpenMP too, with as many threads as OMP_NUM_THREADS says; one alone leaves none behind.
UNLESS_ONE_THREAD: Final = frozenset({"lightgbm"})
# The flavors that load these packages: a list of requirements that was written by hand may lack one.
NOT_FORKABLE_FLAVORS: Final = frozenset({"keras", "onnx", "pytorch", "tensorflow", "xgboost"})
NAME: Final = re.compile(r"[A-Za-z0-9._-]+")

_log = logging.getLogger(__name__)


class PreloadedModel:
    """The model of all workers. Raises ModelLoadError if it does not load, or must not be served here.

    `shared` is None if each worker must load its own.
    """

    def __init__(self, path: Path, loader: Loader, *, require_match: bool = False) -> None:
        if require_match:
            check_match(path)
        self.path = path
        self.loader = loader
        self.shared = load_shared(path, loader)
        if problem := example_problem(read_metadata(path)):
            _log.warning(problem)  # here, since each worker would repeat it

    def for_worker(self) -> Model:
        """Raises ModelLoadError."""
        # Only a shared model is compared with MLflow's predictions, so a worker that loads its own model uses MLflow.
        return self.shared or load(self.path, Loader.NATIVE if self.loader is Loader.NATIVE else Loader.MLFLOW)

    @property
    def needs_comparison(self) -> bool:
        """True if `--loader auto` has loaded the model natively."""
        return self.loader is Loader.AUTO and self.shared is not None and self.shared.native

    def fall_back_to_mlflow(self) -> bool:
        """Replace the shared model by the one that MLflow loads. Return False if MLflow cannot load it."""
        try:
            self.shared = load(self.path, Loader.MLFLOW)
        except ServingError as error:
            _log.error("MLflow cannot load the model", extra={"fields": {"reason": str(error)}})
            return False
        gc.collect()
        gc.freeze()
        return True


def load_shared(path: Path, loader: Loader) -> Model | None:
    """Return the model, ready for a fork; None if every worker must load its own. Raises ModelLoadError."""
    packages = NOT_FORKABLE if os.environ.get(THREADS) == "1" else NOT_FORKABLE | UNLESS_ONE_THREAD
    flavors = read_metadata(path).flavors.keys()
    if packages.intersection(_requirements(path)) or (packages | NOT_FORKABLE_FLAVORS) & flavors:
        return None
    model = load(path, loader)
    if packages & sys.modules.keys():
        return None
    # The garbage collector writes into each object that it visits. It skips frozen objects, so workers share one copy.
    gc.collect()
    gc.freeze()
    return model


def _requirements(path: Path) -> Iterator[str]:
    """Yield the names of the packages in the model's requirements.txt, which MLflow writes."""
    try:
        lines = (path / "requirements.txt").read_text().splitlines()
    except OSError:
        return
    yield from (name[0].lower() for line in lines if (name := NAME.match(line)))
