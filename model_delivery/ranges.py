"""A large file that comes in ranges, over several connections at a time, and is hashed in the order of its bytes."""

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Final

from model_contract.digest import FileEntry
from model_delivery.answer import CHUNK, FileAnswer
from model_delivery.listed_model import ListedFile

RANGE: Final = 16 << 20  # bytes: 64 requests for 1 GiB
RECORDED: Final = 1 << 20  # bytes of a range between two records of its progress: a killed run repeats less than that
SMALLEST: Final = 2 * RANGE
AHEAD: Final = 8 * RANGE  # bytes that are requested beyond what is hashed: a range for each of 8 connections


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """The bytes from `begin` up to `end`, without the one at `end`, of a file."""

    begin: int
    end: int

    @property
    def size(self) -> int:
        return self.end - self.begin

    @property
    def wanted(self) -> str:
        """The value of the request's header `Range`."""
        return f"bytes={self.begin}-{self.end - 1}"

    def after(self, received: int) -> "Range":
        """Return the rest, if so many bytes of the range are there."""
        return Range(begin=self.begin + received, end=self.end)

    def is_answered(self, answer: FileAnswer, size: int) -> bool:
        """Return True if the answer holds exactly this range of a file of `size` bytes."""
        return (
            answer.status == HTTPStatus.PARTIAL_CONTENT
            and answer.headers.get("Content-Range") == f"bytes {self.begin}-{self.end - 1}/{size}"
        )


def strong(etag: str | None) -> str | None:
    """Return the entity tag if it is a strong one, which stands for each byte."""
    return etag if etag and etag.startswith('"') else None


def in_ranges(size: int) -> list[Range]:
    """Return the ranges of a file of `size` bytes, in order."""
    return [Range(begin=begin, end=min(begin + RANGE, size)) for begin in range(0, size, RANGE)]


class RangedFile:
    """The state of one file, which its transfers share: the ranges that have arrived, are hashed, or are missing."""

    def __init__(self, file: ListedFile, target: Path, etag: str, received: Mapping[int, int]) -> None:
        """`etag` is that of every range; `received` says how many bytes of each are in the file, by its beginning."""
        self.file = file
        self.size = file.size or 0
        self.target = target
        self.etag = etag
        self.given_up = False  # True after an answer that does not fit the others
        self.received = {part.begin: received.get(part.begin, 0) for part in in_ranges(self.size)}
        self.missing = [part for part in in_ranges(self.size) if self.received[part.begin] < part.size]
        self._arrived = self.received.keys() - {part.begin for part in self.missing}
        self._left = len(self.missing)
        self._digest = hashlib.sha256()
        self._requested = 0  # the end of the last range that was requested
        self._hashed = 0
        self._hashing = False
        self._lock = threading.Lock()

    def parts(self) -> Iterator[Range]:
        """Yield the missing ranges, when their turn comes."""
        for part in self.missing:
            self._requested = part.end
            yield part

    def ready(self) -> bool:
        """Return False while a thread hashes, and AHEAD bytes or more are requested beyond what it has hashed.

        More transfers would take the processor from the thread that hashes, which ends last.
        """
        hashing = self._hashed in self._arrived and self._hashed >= self.missing[0].begin
        return not hashing or self._requested - self._hashed < AHEAD

    def add_received(self, part: Range, hashed: Callable[[], None]) -> None:
        """Add a range that is in the file. Hash the file up to the first missing range, unless another thread does.

        `hashed` is called after each range.
        """
        with self._lock:
            self._arrived.add(part.begin)
        while following := self._next_to_hash():
            with self.target.open("rb", buffering=0) as content:
                content.seek(following.begin)
                left = following.size
                while left and (chunk := content.read(min(CHUNK, left))):
                    self._digest.update(chunk)
                    left -= len(chunk)
            with self._lock:
                self._hashed, self._hashing = following.end - left, False
            hashed()

    def end_transfer(self) -> bool:
        """Count the end of one range's transfer; return True for the last one, when all is hashed or given up."""
        with self._lock:
            self._left -= 1
            return self._left == 0

    def entry(self) -> FileEntry:
        """Return size and digest of what is hashed."""
        return FileEntry(path=self.file.path, size=self._hashed, sha256=self._digest.hexdigest())

    def _next_to_hash(self) -> Range | None:
        """Return the range to hash; None if there is none, or if another thread hashes one.

        Only one thread hashes. It calls this again after each range, so that no range is forgotten.
        """
        with self._lock:
            if self._hashing or self._hashed not in self._arrived or self._hashed >= self.size:
                return None
            self._hashing = True
            return Range(begin=self._hashed, end=min(self._hashed + RANGE, self.size))
