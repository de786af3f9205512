"""How long to go on: one deadline for the whole run, a few tries for each request, and an end to all when one has failed for good."""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from model_delivery.errors import TransientError, UnavailableError
from model_delivery.log import log

Result = TypeVar("Result")


class StoppedError(UnavailableError):
    """This transfer ends because another one failed; that one's error is what the user sees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one run, in seconds but for `tries`, which counts the first. `stall` is how long a server may send nothing."""

    deadline: float = 900
    stall: float = 60
    tries: int = 5
    first_wait: float = 1
    longest_wait: float = 20

    def wait_after(self, attempt: int, *, asked: float | None, chance: float) -> float:
        """Doubles with each attempt and is spread evenly by `chance` (0 to 1), so that replicas do not come back together."""
        ceiling = min(self.longest_wait, self.first_wait * 2.0**attempt)
        return max(self.first_wait + (ceiling - self.first_wait) * chance, asked or 0)


class Patience:
    """The limits of a run that has begun; shared by its threads."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._ends = time.monotonic() + limits.deadline
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Every wait and every read of this run ends now."""
        self._stopped.set()

    def remaining(self) -> float:
        """Seconds left. Raises UnavailableError when there are none, StoppedError when the run was stopped."""
        if self._stopped.is_set():
            raise StoppedError("another transfer failed")
        left = self._ends - time.monotonic()
        if left <= 0:
            raise UnavailableError(f"the model did not arrive within {self.limits.deadline:g} s")
        return left

    def read_timeout(self) -> float:
        return min(self.limits.stall, self.remaining())

    def pause(self, seconds: float) -> None:
        self._stopped.wait(min(seconds, self.remaining()))
        self.remaining()

    def retrying(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, which is tried again after a TransientError; the last one is raised when the tries are used up."""
        for attempt in range(1, self.limits.tries):
            try:
                return call()
            except TransientError as error:
                self._wait_for_next(attempt, error)
        return call()

    def _wait_for_next(self, attempt: int, error: TransientError) -> None:
        chance = random.random()  # noqa: S311  it spreads load and protects nothing
        wait = self.limits.wait_after(attempt, asked=error.retry_after, chance=chance)
        if wait >= self.remaining():
            raise UnavailableError(f"{error}; the next try would come after the deadline of {self.limits.deadline:g} s") from error
        log("trying again", attempt=attempt + 1, wait=f"{wait:.1f}s", reason=error)
        self.pause(wait)
