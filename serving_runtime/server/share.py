"""Whether workers may be copies of a process that has loaded the model, which they then share."""

import gc
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from serving_runtime.loaders.choice import Loader

if TYPE_CHECKING:
    from serving_runtime.model import Model

# Loaded, they hold threads, locks or a GPU that a copy does not get: https://pytorch.org/docs/stable/notes/multiprocessing.html
NOT_TO_BE_COPIED: Final = frozenset({"jax", "keras", "onnxruntime", "tensorflow", "torch"})
NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def load_shared(path: Path, loader: Loader) -> "Model | None":
    """The model, ready to be copied by a fork; None where every worker must load its own. Raises ModelLoadError."""
    from serving_runtime.model import load  # noqa: PLC0415  pandas comes with it

    if NOT_TO_BE_COPIED.intersection(_requirements(path)):
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
