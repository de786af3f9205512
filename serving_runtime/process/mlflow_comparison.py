"""A process that loads the same model with MLflow and says whether both predict the same, once the server is ready.

It is a copy of the supervisor, and so has the model; MLflow, which takes a second and 100 MB, is loaded in it alone,
and goes with it.
"""

import logging
import mmap
import os
import signal
import time
from typing import Final, NoReturn, Self

from serving_runtime.errors import ServingError
from serving_runtime.options import Loader
from serving_runtime.process.parent_death import end_with
from serving_runtime.process.placeholder_server import PlaceholderServer
from serving_runtime.process.preload import ModelSource

UNKNOWN: Final = 0
SAME: Final = 1
DIFFERENT: Final = 2
GENTLY: Final = 10  # the server that has just started has requests to answer
PAUSE: Final = 0.1  # seconds

_log = logging.getLogger(__name__)


class MlflowComparison:
    """Its verdict is a byte that it writes and the supervisor reads: whoever waits for a child that has ended may be
    gunicorn.
    """

    def __init__(self) -> None:
        self._verdict = mmap.mmap(-1, 1)

    @classmethod
    def start(cls, model_source: ModelSource, placeholder: PlaceholderServer, listening: int) -> Self:
        """Forks where there is a doubt. `listening` is the descriptor of the server's socket, which the new process
        closes.
        """
        comparison = cls()
        supervisor = os.getpid()
        if model_source.needs_comparison and os.fork() == 0:
            end_with(supervisor)
            os.close(listening)
            _compare(model_source, placeholder, comparison._verdict)
        return comparison

    def differs(self) -> bool:
        """True once: when it has ended, and said so."""
        if self._verdict[0] != DIFFERENT:
            return False
        self._verdict[0] = UNKNOWN
        return True


def _compare(model_source: ModelSource, placeholder: PlaceholderServer, verdict: mmap.mmap) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):  # nobody waits for what it finds
        signal.signal(number, signal.SIG_DFL)
    os.nice(GENTLY)
    while not placeholder.gone:
        time.sleep(PAUSE)
    try:
        verdict[0] = _verdict(model_source)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("the model could not be compared with itself as MLflow loads it")
    os._exit(0)


def _verdict(model_source: ModelSource) -> int:
    from serving_runtime.model import load  # noqa: PLC0415  as above
    from serving_runtime.prediction.warm_up import alike, trial  # noqa: PLC0415  pandas comes with it

    assert model_source.shared is not None  # noqa: S101  for the types: else there is no doubt
    ours = trial(model_source.shared)  # as the server is: nothing of MLflow is in the process yet
    try:
        theirs = trial(load(model_source.path, Loader.MLFLOW))
    except ServingError as error:
        _log.warning("MLflow cannot load the model to compare it", extra={"fields": {"reason": str(error)}})
        return UNKNOWN
    if alike(ours, theirs):
        _log.info("the model predicts the same as loaded by MLflow")
        return SAME
    _log.warning("the model predicts something else than as loaded by MLflow, which loads it from now on")
    return DIFFERENT
