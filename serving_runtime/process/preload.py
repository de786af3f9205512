"""Where workers get their model: one that was loaded for all, or, where that cannot be copied, one that each loads."""

import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from serving_runtime.errors import ServingError
from serving_runtime.mlmodel import read_metadata
from serving_runtime.options import Loader
from serving_runtime.process.share import load_shared
from serving_runtime.requirements import check_match

if TYPE_CHECKING:
    from serving_runtime.model import Model

_log = logging.getLogger(__name__)


class ModelSource:
    """Raises ModelLoadError where the model that all would share does not load, or where it must not be served here."""

    def __init__(self, path: Path, loader: Loader, *, require_match: bool = False) -> None:
        if require_match:
            check_match(path)
        from serving_runtime.model import example_problem  # noqa: PLC0415  pandas comes with it

        self.path = path
        self.loader = loader
        self.shared = load_shared(path, loader)
        if problem := example_problem(read_metadata(path)):
            _log.warning(problem)  # here, since each worker would repeat it

    def model_for_worker(self) -> "Model":
        """Raises ModelLoadError."""
        from serving_runtime.model import load  # noqa: PLC0415  pandas comes with it

        # What MLflow would predict is compared with a copy only: a process that loads for itself has MLflow in any
        # case.
        return self.shared or load(self.path, Loader.NATIVE if self.loader is Loader.NATIVE else Loader.MLFLOW)

    @property
    def needs_comparison(self) -> bool:
        """The model was loaded natively, and nobody has said that this is right."""
        return self.loader is Loader.AUTO and self.shared is not None and self.shared.native

    def fall_back(self) -> bool:
        """From now on the model is the one that MLflow loads. False where MLflow cannot load it."""
        from serving_runtime.model import load  # noqa: PLC0415  as above

        try:
            self.shared = load(self.path, Loader.MLFLOW)
        except ServingError as error:
            _log.error("MLflow cannot load the model", extra={"fields": {"reason": str(error)}})
            return False
        gc.collect()
        gc.freeze()
        return True
