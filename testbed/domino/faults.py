"""Faults that a test asks for: builds that take long, wait or fail, answers that break off or are replaced."""

import re
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of the next request that matches. With `status` None, the request is done and the connection ends."""

    method: str
    path: re.Pattern[str]
    status: int | None = None
    body: str = ""

    def concerns(self, method: str, path: str) -> bool:
        return method == self.method and self.path.search(path) is not None


@dataclass(slots=True)
class Faults:
    """The faults that were asked for and have not happened yet."""

    build_seconds: float = 0
    failing: list[str] = field(default_factory=list)
    pending: list[Fault] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.released.set()

    def take(self, method: str, path: str) -> Fault | None:
        """Remove and return the first fault of the request."""
        with self.lock:
            found = next((fault for fault in self.pending if fault.concerns(method, path)), None)
            if found:
                self.pending.remove(found)
            return found

    def next_failure(self) -> str | None:
        """Return the reason why the build that begins now fails; None if it does not."""
        with self.lock:
            return self.failing.pop(0) if self.failing else None
