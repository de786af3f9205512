"""Limits of a run: bounds on silence and slowness, tries for each request, a total if one is set, and an end to all
after one failure.
"""

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


class StoppedError(UnavailableError):
    """This transfer ends because another one failed; that one's error is what the user sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one run, in seconds unless said otherwise.

    `deadline` is for everything, None without an end; `stall` is how long a server may send nothing, and may take for
    the head of an answer; `min_rate` is in bytes per second, averaged over `stall`; `tries` counts the first.
    """

    deadline: float | None = None
    stall: float = 60
    min_rate: float = 1024
    tries: int = 5
    first_wait: float = 1
    longest_wait: float = 20
    longest_retry_after: float = 300

    def wait_after(self, attempt: int, *, asked: float | None, chance: float) -> float:
        """Doubles with each attempt and is spread evenly by `chance` (0 to 1), so that replicas do not come back
        together.
        """
        ceiling = min(self.longest_wait, self.first_wait * 2.0 ** min(attempt, 64))
        return max(self.first_wait + (ceiling - self.first_wait) * chance, asked or 0)


class Patience:
    """The limits of a run that has begun; shared by its threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.expected = 0  # bytes of the whole model, as far as they are known
        self._began = time.monotonic()
        self._ends = inf if limits.deadline is None else self._began + limits.deadline
        self._stopped = threading.Event()
        self._received = 0
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Every wait and every read of this run ends now."""
        self._stopped.set()

    def receive(self, count: int) -> None:
        """Count bytes of files, for the message of a deadline that has passed."""
        with self._lock:
            self._received += count

    def remaining(self) -> float:
        """Seconds left. Raises UnavailableError when there are none, StoppedError when the run was stopped."""
        if self._stopped.is_set():
            raise StoppedError("another transfer failed")
        left = self._ends - time.monotonic()
        if left <= 0:
            raise UnavailableError(
                f"the model did not arrive within {self.limits.deadline:g} s: {self._progress()}; {self._way_out()}"
            )
        return left

    def read_timeout(self) -> float:
        return min(self.limits.stall, self.remaining())

    def pause(self, seconds: float) -> None:
        self._stopped.wait(min(seconds, self.remaining()))
        self.remaining()

    def retrying(self, call: Callable[[], Result], *, reached: Callable[[], int] = int) -> Result:
        """Return the result of `call`, which is tried again after a TransientError.

        `reached` says how many bytes are there. A try that brought more of them than any before, and fast enough, does
        not count: a large file may come in many pieces. The last error is raised when all tries are lost.
        """
        lost, furthest, since = 0, reached(), time.monotonic()
        while True:
            try:
                return call()
            except TransientError as error:
                now, there = time.monotonic(), reached()
                lost += 1
                if there - furthest > self.limits.min_rate * (now - since):
                    lost, furthest, since = 0, there, now
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

    def _progress(self) -> str:
        seconds = max(time.monotonic() - self._began, 0.001)
        of = f" of {self.expected}" if self.expected else ""
        return f"{self._received}{of} bytes came, {self._received / seconds:.0f} bytes/s"

    def _way_out(self) -> str:
        return f"raise --deadline, in a pod the annotation {DEADLINE_ANNOTATION}, if that is only slow"
