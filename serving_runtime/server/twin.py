"""A process that loads the same model with MLflow and says whether both predict the same, once the server is ready.

It is a copy of the supervisor, and so has the model; MLflow, which takes a second and 100 MB, is loaded in it alone, and goes with it.
"""

import logging
import os
import signal
import time
from typing import Final, NoReturn, Self

from serving_runtime.errors import ServingError
from serving_runtime.loaders.choice import Loader
from serving_runtime.server.models import Models
from serving_runtime.server.stand_in import StandIn

SAME: Final = 0
DIFFERENT: Final = 3
UNKNOWN: Final = 4
GENTLY: Final = 10  # the server that has just started has requests to answer
PAUSE: Final = 0.1  # seconds

_log = logging.getLogger(__name__)


class Twin:
    def __init__(self, pid: int | None) -> None:
        self._pid = pid

    @classmethod
    def start(cls, models: Models, stand_in: StandIn) -> Self:
        """Forks where there is a doubt."""
        if not models.doubtful:
            return cls(None)
        pid = os.fork()
        if pid == 0:
            _compare(models, stand_in)
        return cls(pid)

    def differs(self) -> bool:
        """True once: when it has ended, and said so."""
        if self._pid is None:
            return False
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid == 0:
            return False
        self._pid = None
        return os.waitstatus_to_exitcode(status) == DIFFERENT


def _compare(models: Models, stand_in: StandIn) -> NoReturn:
    supervisor = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM):  # nobody waits for what it finds
        signal.signal(number, signal.SIG_DFL)
    os.nice(GENTLY)
    while not stand_in.gone:
        if os.getppid() != supervisor:
            os._exit(UNKNOWN)
        time.sleep(PAUSE)
    try:
        verdict = _verdict(models)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("the model could not be compared with itself as MLflow loads it")
        verdict = UNKNOWN
    os._exit(verdict)


def _verdict(models: Models) -> int:
    from serving_runtime.batching import compare  # noqa: PLC0415  pandas comes with it
    from serving_runtime.model import load  # noqa: PLC0415  as above

    assert models.shared is not None  # noqa: S101  for the types: else there is no doubt
    try:
        other = load(models.path, Loader.MLFLOW)
    except ServingError as error:
        _log.warning("MLflow cannot load the model to compare it", extra={"fields": {"reason": str(error)}})
        return UNKNOWN
    if compare(models.shared, other):
        _log.info("the model predicts the same as loaded by MLflow")
        return SAME
    _log.warning("the model predicts something else than as loaded by MLflow, which loads it from now on")
    return DIFFERENT
