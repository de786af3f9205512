"""The model that workers get: loaded once and shared through the fork, or loaded by each worker if that is not safe."""

import gc
import logging
import os
import sys
import threading
from pathlib import Path
from typing import Final

from serving_runtime.errors import ServingError
from serving_runtime.example import example_problem
from serving_runtime.mlmodel import read_metadata
from serving_runtime.model import Model, load
from serving_runtime.options import Loader
from serving_runtime.process.cpus import THREADS
from serving_runtime.process.fresh_start import UnsafeForkError
from serving_runtime.requirements import check_match, needed_packages

# These modules, once loaded, hold threads, locks, a GPU or the connection to a JVM, which a forked process does not
# get: https://pytorch.org/docs/stable/notes/multiprocessing.html XGBoost reads a model with OpenMP's threads; with more
# than one of them, a forked process waits without end for the others in its first prediction.
NOT_FORKABLE: Final = frozenset({"h2o", "jax", "keras", "onnxruntime", "paddle", "tensorflow", "torch", "xgboost"})
# LightGBM reads a model with OpenMP too, with as many threads as OMP_NUM_THREADS says; one alone leaves none behind.
UNLESS_ONE_THREAD: Final = frozenset({"lightgbm"})
# Packages that bring such modules under another name. MLflow itself imports pyspark, which then has no JVM yet.
OTHER_NAMES: Final = frozenset(
    {"jaxlib", "onnxruntime-gpu", "paddlepaddle", "paddlepaddle-gpu", "pyspark", "tensorflow-cpu", "xgboost-cpu"}
)
# The flavors that load them: a list of requirements that was written by hand may lack one.
NOT_FORKABLE_FLAVORS: Final = frozenset(
    {
        *("diffusers", "fastai", "h2o", "johnsnowlabs", "keras", "onnx", "paddle", "pytorch", "sentence_transformers"),
        *("spark", "tensorflow", "transformers", "xgboost"),
    }
)
OF_MLFLOW: Final = ("GetTelemetryConfig", "MLflowTelemetryConsumer")  # beginnings of names of threads
# MLflow looks for an example that is missing with a pool of threads, which end when the pool is collected.
OF_MLFLOW_POOLS: Final = "Mlflow"
ENDS_IN: Final = 5.0  # seconds

_log = logging.getLogger(__name__)


class PreloadedModel:
    """The model of all workers. Raises ModelLoadError if it does not load, or must not be served here.

    `shared` is None if each worker must load its own, as `each_loads` says. Raises UnsafeForkError.
    """

    def __init__(self, path: Path, loader: Loader, *, require_match: bool = False, each_loads: bool = False) -> None:
        if require_match:
            check_match(path)
        self.path = path
        self.loader = loader
        self.shared = None if each_loads else load_shared(path, loader)
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
    """Return the model, ready for a fork; None if every worker must load its own.

    Raises ModelLoadError; UnsafeForkError if only the load has shown that every worker must load its own.
    """
    modules = NOT_FORKABLE if os.environ.get(THREADS) == "1" else NOT_FORKABLE | UNLESS_ONE_THREAD
    flavors = read_metadata(path).flavors.keys()
    if (modules | NOT_FORKABLE_FLAVORS) & flavors or not (modules | OTHER_NAMES).isdisjoint(needed_packages(path)):
        return None
    before = set(threading.enumerate())
    model = load(path, loader)
    if loaded := sorted(modules & sys.modules.keys()):
        raise UnsafeForkError(f"it has loaded {', '.join(loaded)}")
    gc.collect()
    begun = {one for one in set(threading.enumerate()) - before if not one.name.startswith(OF_MLFLOW)}
    for thread in begun:
        if thread.name.startswith(OF_MLFLOW_POOLS):
            thread.join(ENDS_IN)
    if any(thread.is_alive() for thread in begun):
        raise UnsafeForkError("the model's code has begun a thread")
    # The garbage collector writes into each object that it visits. It skips frozen objects, so workers share one copy.
    gc.freeze()
    return model
