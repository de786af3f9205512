"""Files of the inference table: rotated by rows, bytes and seconds, in a directory for each day, seen whole only."""

import logging
import os
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
from pyarrow import parquet

from serving_runtime.mlmodel import Metadata
from serving_runtime.observability.capture import CaptureCounts, CapturedPrediction
from serving_runtime.observability.inference_table import InferenceTable, TableModel
from serving_runtime.settings import ServeSettings

if TYPE_CHECKING:
    from serving_runtime.tables.object_store import ObjectPath

SECONDS_OF_A_DAY: Final = 86_400
RECORDS_OF_A_BATCH: Final = 1000
BYTES_OF_A_BATCH: Final = 8 << 20
MOST_SCHEMAS: Final = 8  # of files that are open at a time
RETRY: Final = 5.0  # seconds after which a file that could not be written is tried again
MOST_UNWRITTEN: Final = 64 << 20  # bytes of such files
# A column of numbers that hardly come twice is half as fast to write, and larger, if all of them are in a dictionary.
PARQUET: Final[dict[str, Any]] = {"compression": "zstd", "compression_level": 1, "dictionary_pagesize_limit": 32 << 10}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotation:
    """A file is written when it has so many rows or bytes, or when its first row is so many seconds old."""

    rows: int
    bytes: int
    seconds: float


@dataclass(slots=True, kw_only=True)
class _OpenFile:
    """The rows of a file that is not written yet."""

    day: int  # since the epoch
    since: float
    batches: list[pa.RecordBatch] = field(default_factory=list)
    requests: int = 0
    rows: int = 0
    size: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeFile:
    """The content of a file, and the requests in it."""

    name: str
    content: pa.Buffer
    requests: int


class TableWriter:
    """Collects records, and writes files of them into `directory`. Each process has files of its own."""

    def __init__(
        self,
        table: InferenceTable,
        directory: "Path | ObjectPath",
        rotation: Rotation,
        counts: CaptureCounts,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._table = table
        self._directory = directory
        self._rotation = rotation
        self._counts = counts
        self._clock = clock
        self._records: list[CapturedPrediction] = []
        self._records_since = 0.0
        self._open: dict[tuple[int, pa.Schema], _OpenFile] = {}
        self._whole: deque[_WholeFile] = deque()
        self._retry_at = 0.0
        self._failing = False
        self._lost = 0
        self._number = 0

    def write(self, records: Sequence[CapturedPrediction]) -> None:
        now = self._clock()
        if records and not self._records:
            self._records_since = now
        self._records += records
        if self._records and self._are_enough(now):
            self._add_records(self._records_since)
        for key in [key for key, file in self._open.items() if self._is_due(file, now)]:
            self._seal(key)
        if self._whole and now >= self._retry_at:
            self._store()

    def close(self) -> None:
        self._add_records(self._records_since)
        for key in list(self._open):
            self._seal(key)
        self._store()

    def _are_enough(self, now: float) -> bool:
        return (
            len(self._records) >= RECORDS_OF_A_BATCH
            or now - self._records_since >= self._rotation.seconds
            or sum(record.size for record in self._records) >= min(BYTES_OF_A_BATCH, self._rotation.bytes)
            or sum(record.rows or 1 for record in self._records) >= self._rotation.rows
        )

    def _is_due(self, file: _OpenFile, now: float) -> bool:
        limit = self._rotation
        return file.rows >= limit.rows or file.size >= limit.bytes or now - file.since >= limit.seconds

    def _add_records(self, since: float) -> None:
        """Turn the records into columns, which take a tenth of their memory."""
        records, self._records = self._records, []
        for day, of_day in _by_day(records):
            batches, failed = self._table.batches(of_day)
            self._counts.capture_failed(failed)
            for batch, requests in batches:
                file = self._open.setdefault((day, batch.schema), _OpenFile(day=day, since=since))
                file.batches.append(batch)
                file.requests += requests
                file.rows += batch.num_rows
                file.size += batch.nbytes
        while len(self._open) > MOST_SCHEMAS:
            self._seal(next(iter(self._open)))

    def _seal(self, key: tuple[int, pa.Schema]) -> None:
        """Make the content of a file, which is kept as it is until it can be written."""
        file = self._open.pop(key)
        written = pa.BufferOutputStream()
        try:
            parquet.write_table(pa.Table.from_batches(file.batches), written, **PARQUET)
        except BaseException:
            self._counts.capture_failed(file.requests)
            raise
        self._number += 1
        name = _file_name(file.day, self._number)
        self._whole.append(_WholeFile(name=name, content=written.getvalue(), requests=file.requests))

    def _store(self) -> None:
        """Write the whole files, oldest first. Those that cannot be written are kept for a while."""
        try:
            while self._whole:
                self._put(self._whole[0])
                self._counts.capture_written(self._whole.popleft().requests)
        except (OSError, pa.ArrowException) as error:
            self._retry_at = self._clock() + RETRY
            self._fail(str(error).partition("\n")[0])
            return
        if self._failing:
            _log.info("recorded predictions are written again", extra={"fields": {"lost_requests": self._lost}})
        self._failing, self._lost = False, 0

    def _fail(self, reason: str) -> None:
        if not self._failing:
            _log.error(
                "recorded predictions cannot be written; those that do not fit into memory are lost",
                extra={"fields": {"directory": str(self._directory), "reason": reason}},
            )
        self._failing = True
        while sum(file.content.size for file in self._whole) > MOST_UNWRITTEN:
            lost = self._whole.popleft().requests
            self._lost += lost
            self._counts.capture_failed(lost)

    def _put(self, file: _WholeFile) -> None:
        """Raises OSError."""
        if not isinstance(self._directory, Path):
            (self._directory / file.name).upload(pa.BufferReader(file.content))
            return
        target = self._directory / file.name
        partial = target.with_name(f".{target.name}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with partial.open("wb") as stream:
                stream.write(file.content)
                stream.flush()
                os.fsync(stream.fileno())
            partial.rename(target)
        except BaseException:
            with suppress(OSError):
                partial.unlink()
            raise


def _file_name(day: int, number: int) -> str:
    """Return the path of this process's file of the number, such as day=2026-11-29/140140-<host>-<process>-1-64b011."""
    date = datetime.fromtimestamp(day * SECONDS_OF_A_DAY, UTC).date()
    moment = datetime.now(UTC).strftime("%H%M%S")
    return f"day={date}/{moment}-{os.uname().nodename}-{os.getpid()}-{number}-{secrets.token_hex(3)}.parquet"


def _by_day(records: Sequence[CapturedPrediction]) -> Iterator[tuple[int, Sequence[CapturedPrediction]]]:
    """Yield the records of each day since the epoch. They come in the order of their times."""
    if records and _day(records[0]) == _day(records[-1]):  # nearly always
        yield _day(records[0]), records
        return
    for day, of_day in groupby(records, _day):
        yield day, list(of_day)


def _day(record: CapturedPrediction) -> int:
    return int(record.at // SECONDS_OF_A_DAY)


def table_writer(
    settings: ServeSettings,
    metadata: Metadata,
    digest: Callable[[], str | None],
    directory: "Path | ObjectPath",
    counts: CaptureCounts,
) -> TableWriter:
    """Return the writer of the inference table, as the settings describe it."""
    model = TableModel(
        name=settings.model_name,
        version=settings.model_version or None,
        digest=digest,
        signature=metadata.signature,
    )
    rotation = Rotation(rows=settings.capture_rows, bytes=settings.capture_bytes, seconds=settings.capture_seconds)
    return TableWriter(InferenceTable(model, settings.capture_redact), directory, rotation, counts)
