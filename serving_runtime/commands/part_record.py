"""The record of the finished parts in a directory of predictions: a repeated command leaves these as they are."""

import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.commands.cli_errors import UnavailableError
from serving_runtime.commands.places import FilePlace, lock, reason, write_error

if TYPE_CHECKING:
    from serving_runtime.tables.object_store import ObjectPath

RECORD: Final = "_predict.jsonl"  # readers of data sets skip names that begin with _
SHARE: Final = 0.05  # largest part of the time for writing the record in a store: each write sends all lines again


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredRows:
    """Counts of scored rows: `refused` of the `rows` have no prediction."""

    rows: int = 0
    refused: int = 0

    def __add__(self, other: "ScoredRows") -> "ScoredRows":
        return ScoredRows(rows=self.rows + other.rows, refused=self.refused + other.refused)


class Record:
    """A line for each finished part: its name, the digest of what it was made from, and its counts.

    `append` adds a line to the file of `text`.
    """

    def __init__(self, text: bytes, append: Callable[[bytes], None]) -> None:
        self._append = append
        self._lines: dict[str, dict[str, Any]] = {}
        for line in text.splitlines():
            with suppress(ValueError, KeyError, TypeError):  # a line that was cut by a kill
                entry = json.loads(line)
                self._lines[entry["part"]] = entry

    def finished(self, name: str, digest: str) -> ScoredRows | None:
        """Return the counts of the finished part with this name and digest; None if there is none."""
        entry = self._lines.get(name)
        if entry is None or entry.get("digest") != digest:
            return None
        return ScoredRows(rows=entry["rows"], refused=entry["refused"])

    def others(self, names: Collection[str]) -> list[str]:
        """Return the names of the recorded parts that are not among these."""
        return [name for name in self._lines if name not in names]

    def add(self, name: str, digest: str, counts: ScoredRows) -> None:
        entry = {"part": name, "digest": digest, "rows": counts.rows, "refused": counts.refused}
        self._append(json.dumps(entry).encode() + b"\n")


def record_of(directory: FilePlace) -> AbstractContextManager[Record]:
    """Return the record of a directory. On this machine, it is one process's at a time. Raises CommandError."""
    return _record_file(directory) if isinstance(directory, Path) else _record_object(directory)


@contextmanager
def _record_file(directory: Path) -> Iterator[Record]:
    try:
        directory.mkdir(parents=True, exist_ok=True)
        stream = (directory / RECORD).open("a+b")
    except OSError as error:
        raise write_error(directory, error) from None

    def append(line: bytes) -> None:
        try:
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
        except OSError as error:
            raise write_error(directory / RECORD, error) from None

    with stream:
        lock(stream, directory)
        stream.seek(0)
        text = stream.read()
        if text and not text.endswith(b"\n"):
            append(b"\n")
        yield Record(text, append)


@contextmanager
def _record_object(directory: "ObjectPath") -> Iterator[Record]:
    """Yield the record of a store, which has no locks: of two commands at a time, one may score a part again."""
    place = directory / RECORD
    try:
        lines = bytearray(place.read())
    except FileNotFoundError:
        lines = bytearray()
    except OSError as error:
        raise UnavailableError(f"{place} cannot be read: {reason(error)}") from None
    written, wait_until = len(lines), 0.0

    def save() -> None:
        nonlocal written, wait_until
        began = time.monotonic()
        try:
            place.upload(BytesIO(lines))
        except OSError as error:
            raise write_error(place, error) from None
        written, now = len(lines), time.monotonic()
        wait_until = now + (now - began) / SHARE

    def append(line: bytes) -> None:
        lines.extend(line)
        if time.monotonic() >= wait_until:
            save()

    try:
        yield Record(bytes(lines), append)
    finally:
        if written < len(lines):
            save()
