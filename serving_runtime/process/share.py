"""Whether workers may be copies of a process that has loaded the model, which they then share."""

import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving_runtime.mlmodel import read_metadata
from serving_runtime.options import Loader

if TYPE_CHECKING:
    from serving_runtime.model import Model

# Loaded, they hold threads, locks or a GPU that a copy does not get:
# https://pytorch.org/docs/stable/notes/multiprocessing.html XGBoost reads a model with OpenMP's threads; where there is
# more than one, a copy waits for the others in its first prediction, for ever.
NOT_TO_BE_COPIED: Final = frozenset({"jax", "keras", "onnxruntime", "tensorflow", "torch", "xgboost", "xgboost-cpu"})
# The flavors that load them: a list of requirements that somebody has written may be too short.
FLAVORS: Final = frozenset({"keras", "onnx", "pytorch", "tensorflow", "xgboost"})
NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def load_shared(path: Path, loader: Loader) -> "Model | None":
    """The model, ready to be copied by a fork; None where every worker must load its own. Raises ModelLoadError."""
    from serving_runtime.model import load  # noqa: PLC0415  pandas comes with it

    if NOT_TO_BE_COPIED.intersection(_requirements(path)) or FLAVORS & read_metadata(path).flavors.keys():
        return None
    model = load(path, loader)
    if NOT_TO_BE_COPIED & sys.modules.keys():
        return None
    # What a collection never touches is never written to, and stays one copy for all.
    gc.collect()
    gc.freeze()
    return model


def _requirements(path: Path) -> Iterator[str]:
    """The packages that MLflow found the model to need."""
    try:
        lines = (path / "requirements.txt").read_text().splitlines()
    except OSError:
        return
    yield from (name[0].lower() for line in lines if (name := NAME.match(line)))
