"""Limits of a running fetch: on silence, slowness and the whole time; tries of a request, and an end to all of them."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from model_contract.names import DEADLINE_ANNOTATION
from model_delivery.errors import TransientError, UnavailableError
from model_delivery.log import log

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Bytes of files that are there, of `expected`, after so many seconds; `found` of them came in an earlier run."""

    bytes: int
    found: int
    expected: int
    seconds: float

    @property
    def rate(self) -> float:
        """Bytes per second of this run."""
        return (self.bytes - self.found) / max(self.seconds, 0.001)

    @property
    def seconds_left(self) -> float | None:
        """None if the size or the rate is not known."""
        return max(self.expected - self.bytes, 0) / self.rate if self.expected and self.rate else None


class StoppedError(UnavailableError):
    """A transfer ends because another one failed; the user sees the error of that one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one fetch, in seconds unless said otherwise.

    `deadline` is for everything, None without an end; `stall` is the longest silence of a server, and the longest time
    for the head of an answer; `min_rate` is in bytes per second, averaged over `stall`; `tries` counts the first one.
    """

    deadline: float | None = None
    stall: float = 60
    min_rate: float = 1024
    tries: int = 5
    first_wait: float = 1
    longest_wait: float = 20
    longest_retry_after: float = 300

    def wait_after(self, attempt: int, *, asked: float | None, chance: float) -> float:
        """Return the seconds to wait. `asked` is the wait that the server asks for, `chance` a number from 0 to 1.

        The wait doubles with each attempt and is spread evenly, so that replicas do not retry at the same time.
        """
        ceiling = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 64))
        return max(self.first_wait + (ceiling - self.first_wait) * chance, asked or 0)


class Deadline:
    """The limits of a fetch that has begun; its threads share it."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.expected = 0  # bytes of the models that have begun, as far as they are known
        self._began = time.monotonic()
        self._ends = inf if limits.deadline is None else self._began + limits.deadline
        self._stopped = threading.Event()
        self._received = 0
        self._found = 0
        self._lock = threading.Lock()

    def stop(self) -> None:
        """End every wait and every further read of this fetch."""
        self._stopped.set()

    def count(self, received: int) -> None:
        """Count bytes of files, for the message of a deadline that has passed."""
        with self._lock:
            self._received += received

    def count_found(self, found: int) -> None:
        """Count bytes of files that an earlier run has left."""
        with self._lock:
            self._found += found

    def snapshot(self) -> Snapshot:
        """Return the state of the transfer."""
        with self._lock:
            received, found = self._received, self._found
        seconds = time.monotonic() - self._began
        return Snapshot(bytes=received + found, found=found, expected=self.expected, seconds=seconds)

    def remaining(self) -> float:
        """Return the seconds left. Raises UnavailableError if there are none, StoppedError after `stop`."""
        if self._stopped.is_set():
            raise StoppedError("another transfer failed")
        left = self._ends - time.monotonic()
        if left <= 0:
            raise UnavailableError(self._overdue())
        return left

    def read_timeout(self) -> float:
        """Return the seconds that the next read may take. Raises as `remaining` does."""
        return min(self.limits.stall, self.remaining())

    def pause(self, seconds: float) -> None:
        """Wait. Raises as `remaining` does, when the time is up."""
        self._stopped.wait(min(seconds, self.remaining()))
        self.remaining()

    def retrying(self, call: Callable[[], Result], *, reached: Callable[[], int] = int) -> Result:
        """Return the result of `call`, which is tried again after a TransientError.

        `reached` returns how many bytes have arrived. A try that brought more of them than any before, and fast enough,
        does not count: a large file may come in many pieces. The last error is raised when all tries are used up.
        """
        lost, furthest, since = 0, reached(), time.monotonic()
        while True:
            try:
                return call()
            except TransientError as error:
                now, arrived = time.monotonic(), reached()
                lost += 1
                if arrived - furthest > self.limits.min_rate * (now - since):
                    lost, furthest, since = 0, arrived, now
                if lost >= self.limits.tries or self.limits.tries == 1:
                    raise
                self._wait_for_next(max(lost, 1), error)

    def _wait_for_next(self, attempt: int, error: TransientError) -> None:
        chance = random.random()  # noqa: S311  it spreads load and protects nothing
        wait = self.limits.wait_after(attempt, asked=error.retry_after, chance=chance)
        if wait > max(self.limits.longest_retry_after, self.limits.longest_wait):
            bound = f"longer than --longest-retry-after {self.limits.longest_retry_after:g}"
            raise UnavailableError(f"{error}; the server asks to wait {wait:g} s, {bound}") from error
        if wait >= self.remaining():
            raise UnavailableError(
                f"{error}; the next try would come after the deadline of {self.limits.deadline:g} s"
            ) from error
        log("trying again", attempt=attempt + 1, wait=f"{wait:.1f}s", reason=error)
        self.pause(wait)

    def _overdue(self) -> str:
        """Return the message of a deadline that has passed."""
        return (
            f"the model did not arrive within {self.limits.deadline:g} s: {self._progress()}; if the connection is"
            f" only slow, raise --deadline, or the annotation {DEADLINE_ANNOTATION} of the pod"
        )

    def _progress(self) -> str:
        seconds = max(time.monotonic() - self._began, 0.001)
        of = f" of {self.expected}" if self.expected else ""
        return f"{self._received}{of} bytes came, {self._received / seconds:.0f} bytes/s"
