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
from serving_runtime.loaders.choice import Loader
from serving_runtime.server.models import Models
from serving_runtime.server.parent_death import end_with
from serving_runtime.server.stand_in import StandIn

UNKNOWN: Final = 0
SAME: Final = 1
DIFFERENT: Final = 2
GENTLY: Final = 10  # the server that has just started has requests to answer
PAUSE: Final = 0.1  # seconds

_log = logging.getLogger(__name__)


class Twin:
    """Its verdict is a byte that it writes and the supervisor reads: whoever waits for a child that has ended may be
    gunicorn.
    """

    def __init__(self) -> None:
        self._verdict = mmap.mmap(-1, 1)

    @classmethod
    def start(cls, models: Models, stand_in: StandIn, listening: int) -> Self:
        """Forks where there is a doubt. `listening` is the descriptor of the server's socket, which the new process
        closes.
        """
        twin = cls()
        supervisor = os.getpid()
        if models.doubtful and os.fork() == 0:
            end_with(supervisor)
            os.close(listening)
            _compare(models, stand_in, twin._verdict)
        return twin

    def differs(self) -> bool:
        """True once: when it has ended, and said so."""
        if self._verdict[0] != DIFFERENT:
            return False
        self._verdict[0] = UNKNOWN
        return True


def _compare(models: Models, stand_in: StandIn, verdict: mmap.mmap) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):  # nobody waits for what it finds
        signal.signal(number, signal.SIG_DFL)
    os.nice(GENTLY)
    while not stand_in.gone:
        time.sleep(PAUSE)
    try:
        verdict[0] = _verdict(models)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("the model could not be compared with itself as MLflow loads it")
    os._exit(0)


def _verdict(models: Models) -> int:
    from serving_runtime.batching import alike, trial  # noqa: PLC0415  pandas comes with it
    from serving_runtime.model import load  # noqa: PLC0415  as above

    assert models.shared is not None  # noqa: S101  for the types: else there is no doubt
    ours = trial(models.shared)  # as the server is: nothing of MLflow is in the process yet
    try:
        theirs = trial(load(models.path, Loader.MLFLOW))
    except ServingError as error:
        _log.warning("MLflow cannot load the model to compare it", extra={"fields": {"reason": str(error)}})
        return UNKNOWN
    if alike(ours, theirs):
        _log.info("the model predicts the same as loaded by MLflow")
        return SAME
    _log.warning("the model predicts something else than as loaded by MLflow, which loads it from now on")
    return DIFFERENT
