"""The recorder of predictions: a thread that drops and counts the records that it cannot write in time."""

import logging
import os
import random
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Protocol

from model_contract.extras import missing_extra
from model_contract.model_ref import ContractError, shown
from serving_runtime.options import STORES, Capture, CaptureKind
from serving_runtime.tables import lazy as tables

if TYPE_CHECKING:
    from serving_runtime.tables.object_store import ObjectPath

MOST_WAITING: Final = 5000  # records
MOST_WAITING_BYTES: Final = 64 << 20
INTERVAL: Final = 0.2  # seconds between two writes
FEW_WAITING: Final = 1000  # records, with which the thread does not wait so long
SILENCE: Final = 60.0  # seconds between two log lines about dropped records
FLUSH: Final = 5.0  # seconds for the last records of a process that ends
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
            f"--capture domino writes to the directory that {DIRECTORY} names: set the variable, or --capture off"
        )


class UnusableCaptureError(ContractError):
    """The recorder needs a package that is not installed, or the address is of no store."""


@dataclass(slots=True)  # made for each request: with the names of its fields it would take more than twice as long
class CapturedPrediction:
    """A prediction and the input that it was made from, as the model got it. `at` is in seconds since the epoch.

    `size` is that of the request and of its answer in bytes.
    """

    request_id: str
    protocol: str
    at: float
    data: Any
    params: Mapping[str, Any] | None
    rows: int | None
    value: Any
    size: int


class RecordWriter(Protocol):
    """A destination of records, called in one thread. It counts the requests that it has written, or has not."""

    def write(self, records: Sequence[CapturedPrediction]) -> None:
        """Write records, or keep them for a while. `records` may be empty: it is called again and again."""

    def close(self) -> None:
        """Write what is kept."""


class CaptureCounts(Protocol):
    """The counters of recorded requests."""

    def captured(self) -> None: ...

    def capture_behind(self) -> None: ...

    def capture_written(self, requests: int) -> None: ...

    def capture_failed(self, requests: int) -> None: ...


class Recorder:
    """Takes a sample of the predictions; `wanted` is True for a request in the sample."""

    def __init__(
        self, writer: RecordWriter | None = None, counts: CaptureCounts | None = None, *, sample: float = 1.0
    ) -> None:
        self._counts = counts
        self._sample = sample
        self._waiting: deque[CapturedPrediction] = deque()
        self._bytes_in = self._bytes_out = 0
        self._told_at = 0.0
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        if writer:
            self._thread = threading.Thread(target=self._run, args=(writer,), name="recorder", daemon=True)
            self._thread.start()

    @property
    def records(self) -> bool:
        return self._thread is not None

    def wanted(self) -> bool:
        return self._thread is not None and (self._sample >= 1.0 or random.random() < self._sample)  # noqa: S311  a sample, no secret

    def put(self, captured: CapturedPrediction) -> None:
        """Take a record, or drop and count it if the recorder is so far behind."""
        assert self._counts is not None  # noqa: S101  for the types: none is wanted without it
        if len(self._waiting) >= MOST_WAITING or self._bytes_in - self._bytes_out > MOST_WAITING_BYTES:
            self._counts.capture_behind()
            if captured.at - self._told_at > SILENCE:
                self._told_at = captured.at
                _log.warning("predictions are not recorded: the recorder is behind; the metrics count them")
            return
        self._waiting.append(captured)
        self._bytes_in += captured.size
        self._counts.captured()
        if len(self._waiting) >= FEW_WAITING:
            self._awake.set()

    def finish(self) -> None:
        """Wait until all records are written, for FLUSH seconds at most."""
        if self._thread is not None:
            self._closing.set()
            self._awake.set()
            self._thread.join(FLUSH)

    def _run(self, writer: RecordWriter) -> None:
        while not self._closing.is_set():
            self._awake.wait(INTERVAL)
            self._awake.clear()
            self._write(writer)
        self._write(writer)
        writer.close()

    def _write(self, writer: RecordWriter) -> None:
        records = [self._waiting.popleft() for _ in range(len(self._waiting))]
        try:
            writer.write(records)
        except Exception:  # noqa: BLE001  the edge of a thread
            _log.exception("predictions could not be recorded", extra={"fields": {"requests": len(records)}})
        self._bytes_out += sum(record.size for record in records)


def destination(capture: Capture, environ: Mapping[str, str]) -> "Path | ObjectPath | None":
    """Return the file or the directory to record in, which must be writable if it is not in a store.

    Raises ContractError.
    """
    match capture.kind:
        case CaptureKind.OFF:
            return None
        case CaptureKind.PARQUET:
            return table_directory(capture.path)
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


def table_directory(text: str) -> "Path | ObjectPath":
    """Return the directory of a table, which is made if it is of this machine. A store is not asked: it may be away.

    Raises ContractError.
    """
    try:
        _ = tables.parquet
        scheme, separator, key = text.partition("://")
        if separator:
            if scheme not in STORES or not key.strip("/"):
                names = ", ".join(f"{name}://bucket/key" for name in STORES)
                raise UnusableCaptureError(f"--capture parquet: writes to a directory, or to {names}")
            return tables.ObjectPath(scheme, PurePosixPath(key))
    except ModuleNotFoundError as error:
        raise UnusableCaptureError(
            f"--capture parquet: cannot be used: {missing_extra(error.name, 'tables')}"
        ) from None
    path = Path(text)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".{os.uname().nodename}-{os.getpid()}.partial"
        probe.open("wb").close()
        probe.unlink()
    except OSError as error:
        raise UnwritableCaptureError(path, error) from error
    return path


def instance_id(hostname: str) -> str | None:
    """Return the second part of the name of a model's pod, as Domino's client does."""
    parts = hostname.split("-")
    return parts[1] if parts[0].startswith("model") and len(parts) > 1 else None
