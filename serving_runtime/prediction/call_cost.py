"""What a prediction costs, by its rows: a line that is fitted from the first calls and follows the later ones."""

import resource
import time
from typing import Final

# A thread costs 0.1 to 0.3 ms to hand over and back, at every call; a loop that is away for so long is late for
# nobody's probe or deadline.
CHEAP: Final = 0.003  # seconds
MEMORY: Final = 0.98  # of each observation, at the next: about the last fifty count
# One call that the machine interrupted is no news about the model.
OUTLIER: Final = 4.0
ENOUGH: Final = 4


class Stopwatch:
    """`seconds` have passed since it was made; `cost` is what of them is the caller's own.

    A thread that the kernel interrupted for another one was not at work: only its time on the processor counts then.
    One that waits for threads of its own, as a forest of trees does, has not been interrupted. To know this costs four
    system calls: one that is not `exact` takes all that has passed for its own.
    """

    def __init__(self, *, exact: bool = True) -> None:
        self._exact = exact
        if exact:
            self._interrupted = _interruptions()
            self._worked = time.thread_time()
        self._began = time.perf_counter()
        self.seconds = self.cost = 0.0

    def stop(self) -> None:
        self.seconds = self.cost = time.perf_counter() - self._began
        if self._exact and _interruptions() > self._interrupted:
            self.cost = time.thread_time() - self._worked


def _interruptions() -> int:
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class CallCost:
    """Seconds = a + b x rows, by least squares."""

    def __init__(self) -> None:
        self._count = self._rows = self._seconds = self._squares = self._products = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        if self._count > ENOUGH:
            seconds = min(seconds, OUTLIER * max(self.of(rows), CHEAP / OUTLIER))
        self._count = self._count * MEMORY + 1.0
        self._rows = self._rows * MEMORY + rows
        self._seconds = self._seconds * MEMORY + seconds
        self._squares = self._squares * MEMORY + rows * rows
        self._products = self._products * MEMORY + rows * seconds

    def of(self, rows: int) -> float:
        """Infinite while nothing is known."""
        if not self._count:
            return float("inf")
        spread = self._count * self._squares - self._rows**2
        mean = self._seconds / self._count
        if (
            spread < 1e-6 * self._squares * self._count
        ):  # all had the same rows: what more would cost is a guess, and this one is safe
            return mean * max(1.0, rows * self._count / max(self._rows, 1.0))
        each = max(0.0, (self._count * self._products - self._rows * self._seconds) / spread)
        return max(0.0, mean + each * (rows - self._rows / self._count))

    def cheap(self, rows: int) -> bool:
        return self.of(rows) < CHEAP

    def doubtful(self, rows: int) -> bool:
        """It is worth to look closely: far below the limit a call may be slow now and then."""
        return self.of(rows) > CHEAP / 4
