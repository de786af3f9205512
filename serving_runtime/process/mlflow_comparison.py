"""A process that loads the same model with MLflow and compares the predictions of both, once the server is ready.

It is a fork of the supervisor, and so has the model. Only this process loads MLflow, which takes a second and 100 MB
until it ends.
"""

import logging
import mmap
import os
import signal
import time
from collections.abc import Iterable
from typing import Final, NoReturn, Self

from serving_runtime.errors import ServingError
from serving_runtime.model import load
from serving_runtime.options import Loader
from serving_runtime.prediction.comparison import all_same, example_predictions
from serving_runtime.process.parent_death import end_with
from serving_runtime.process.placeholder_server import PlaceholderServer
from serving_runtime.process.preload import PreloadedModel

UNKNOWN: Final = 0
SAME: Final = 1
DIFFERENT: Final = 2
NICENESS: Final = 10  # the server that has just started has requests to answer
POLL_INTERVAL: Final = 0.1  # seconds

_log = logging.getLogger(__name__)


class MlflowComparison:
    """Its result is one byte, written by the process and read by the supervisor: gunicorn may reap the process."""

    def __init__(self) -> None:
        self._result = mmap.mmap(-1, 1)

    @classmethod
    def start(cls, preloaded: PreloadedModel, placeholder: PlaceholderServer, listening: Iterable[int]) -> Self:
        """Fork the process if the model needs a comparison.

        `listening` are the descriptors of the server's sockets, which the new process closes.
        """
        comparison = cls()
        supervisor = os.getpid()
        if preloaded.needs_comparison and os.fork() == 0:
            os.nice(NICENESS)
            end_with(supervisor)
            for descriptor in listening:
                os.close(descriptor)
            _run(preloaded, placeholder, comparison._result)
        return comparison

    def found_difference(self) -> bool:
        """Return True once: after the process has ended and found that the predictions differ."""
        if self._result[0] != DIFFERENT:
            return False
        self._result[0] = UNKNOWN
        return True


def _run(preloaded: PreloadedModel, placeholder: PlaceholderServer, result: mmap.mmap) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGTERM):  # nothing is lost if it ends in the middle
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # it ends with the supervisor
    while not placeholder.gone:
        time.sleep(POLL_INTERVAL)
    try:
        result[0] = _compare(preloaded)
    except Exception:  # noqa: BLE001  the edge of a process
        _log.exception("the model could not be compared with itself as MLflow loads it")
    os._exit(0)


def _compare(preloaded: PreloadedModel) -> int:
    assert preloaded.shared is not None  # noqa: S101  for the types: else nothing needs a comparison
    ours = example_predictions(preloaded.shared)  # before MLflow is imported, as in the server
    try:
        theirs = example_predictions(load(preloaded.path, Loader.MLFLOW))
    except ServingError as error:
        _log.warning("MLflow cannot load the model to compare it", extra={"fields": {"reason": str(error)}})
        return UNKNOWN
    if all_same(ours, theirs):
        _log.info("the model predicts the same as loaded by MLflow")
        return SAME
    _log.warning("the model predicts something else than when MLflow loads it; MLflow loads it from now on")
    return DIFFERENT
