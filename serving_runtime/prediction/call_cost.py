"""The cost of a model's call by its rows: a line that is fitted from the first calls and follows the later ones."""

import resource
import time
from typing import Final

# Handing a call to a thread and back costs 0.1 to 0.3 ms. An event loop that is busy for CHEAP seconds delays no probe
# and misses no deadline.
CHEAP: Final = 0.003  # seconds
DECAY: Final = 0.98  # of each observation, at the next: about the last fifty count
# A call counts for at most OUTLIER times its estimate: a longer one was interrupted by the machine.
OUTLIER: Final = 4.0
ENOUGH: Final = 4  # observations


class Stopwatch:
    """`seconds` have passed since it was made; `cost` is the part of them that is the caller's own.

    If the kernel has interrupted the thread for another one, only its time on the processor counts. A thread that waits
    for threads of its own, as a forest of trees does, is not interrupted, and all of its time counts. To tell the two
    apart costs four system calls; a watch that is not `exact` counts all of the time.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self._exact = exact
        if exact:
            self._interruptions = _interruptions()
            self._processor_time = time.thread_time()
        self._began = time.perf_counter()
        self.seconds = self.cost = 0.0

    def stop(self) -> None:
        self.seconds = self.cost = time.perf_counter() - self._began
        if self._exact and _interruptions() > self._interruptions:
            self.cost = min(self.seconds, time.thread_time() - self._processor_time)  # which began a little earlier


def _interruptions() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class CallCost:
    """Seconds = a + b x rows, by least squares."""

    def __init__(self) -> None:
        self._count = self._rows = self._seconds = self._squares = self._products = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        if self._count > ENOUGH:
            seconds = min(seconds, OUTLIER * max(self.of(rows), CHEAP / OUTLIER))
        self._count = self._count * DECAY + 1.0
        self._rows = self._rows * DECAY + rows
        self._seconds = self._seconds * DECAY + seconds
        self._squares = self._squares * DECAY + rows * rows
        self._products = self._products * DECAY + rows * seconds

    def of(self, rows: int) -> float:
        """Return the seconds that a call of `rows` costs; infinity while nothing is known."""
        if not self._count:
            return float("inf")
        spread = self._count * self._squares - self._rows**2
        mean = self._seconds / self._count
        if spread < 1e-6 * self._squares * self._count:
            # All had the same rows: the cost of more is a guess, and this one is safe.
            return mean * max(1.0, rows * self._count / max(self._rows, 1.0))
        each = max(0.0, (self._count * self._products - self._rows * self._seconds) / spread)
        return max(0.0, mean + each * (rows - self._rows / self._count))

    def is_cheap(self, rows: int) -> bool:
        return self.of(rows) < CHEAP

    def is_doubtful(self, rows: int) -> bool:
        """Return True if the call may be slow now and then, so that it is worth an exact watch."""
        return self.of(rows) > CHEAP / 4
