"""The recorder of predictions: a thread that drops and counts the records that it cannot write in time."""

import logging
import os
import queue
import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from model_contract.model_ref import ContractError, shown
from serving_runtime.options import Capture, CaptureKind

if TYPE_CHECKING:
    from serving_runtime.protocols.interface import Inputs

MOST_WAITING: Final = 1000  # records; each holds its input and its prediction
DIRECTORY: Final = "PREDICTION_DATA_DIRECTORY"  # of Domino, which names the pod by HOSTNAME

_log = logging.getLogger(__name__)


class UnwritableCaptureError(ContractError):
    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"predictions cannot be recorded in {shown(str(path))}: {error.strerror}; set --capture to another place,"
            " or off"
        )


class NoCaptureDirectoryError(ContractError):
    def __init__(self) -> None:
        super().__init__(
            f"--capture domino writes where {DIRECTORY} says, as Domino's own client does, and it is not set"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturedPrediction:
    """A prediction and the input that it was made from. `at` is in seconds since the epoch."""

    request_id: str
    protocol: str
    at: float
    inputs: "Inputs"
    value: Any


class Recorder:
    """Writes a sample of the predictions; `wanted` is True for a request that is one of the sample."""

    def __init__(self, write: Callable[[CapturedPrediction], None] | None = None, sample: float = 1.0) -> None:
        self._write = write
        self._sample = sample
        self._waiting: queue.Queue[CapturedPrediction] = queue.Queue(MOST_WAITING)
        if write:
            threading.Thread(target=self._run, args=(write,), name="recorder", daemon=True).start()

    def wanted(self) -> bool:
        return self._write is not None and (self._sample >= 1.0 or random.random() < self._sample)  # noqa: S311  a sample, no secret

    def put(self, captured: CapturedPrediction) -> bool:
        """Return False if the recorder is so far behind that this record is dropped."""
        try:
            self._waiting.put_nowait(captured)
        except queue.Full:
            return False
        return True

    def finish(self) -> None:
        """Return when all that was put is written."""
        self._waiting.join()

    def _run(self, write: Callable[[CapturedPrediction], None]) -> None:
        while True:
            captured = self._waiting.get()
            try:
                write(captured)
            except Exception:  # noqa: BLE001  the edge of a thread; a disk that is full is no reason to end
                _log.exception(
                    "a prediction could not be recorded", extra={"fields": {"request_id": captured.request_id}}
                )
            finally:
                self._waiting.task_done()


def destination(capture: Capture, environ: Mapping[str, str]) -> Path | None:
    """Return the file to record in, which must be writable. Raises ContractError."""
    match capture.kind:
        case CaptureKind.OFF:
            return None
        case CaptureKind.JSONL:
            path = Path(capture.path)
        case CaptureKind.DOMINO:
            if not environ.get(DIRECTORY):
                raise NoCaptureDirectoryError
            path = Path(environ[DIRECTORY]) / f"{environ.get('HOSTNAME') or os.uname().nodename}.log"
    try:
        path.open("ab").close()
    except OSError as error:
        raise UnwritableCaptureError(path, error) from error
    return path


def instance_id(hostname: str) -> str | None:
    """Return the second part of the name of a model's pod, as Domino's client does."""
    parts = hostname.split("-")
    return parts[1] if parts[0].startswith("model") and len(parts) > 1 else None
