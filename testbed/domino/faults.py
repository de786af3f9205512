"""What goes wrong when somebody says so: builds that take long, wait or fail, answers that break off or are others."""

import re
import threading
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """For the next request of `method` whose path matches; `status` None: do it, and hang up without an answer."""

    method: str
    path: re.Pattern[str]
    status: int | None = None
    body: str = ""

    def concerns(self, method: str, path: str) -> bool:
        return method == self.method and self.path.search(path) is not None


@dataclass(slots=True)
class Faults:
    """Everything that was asked for and has not happened yet."""

    build_seconds: float = 0
    failing: list[str] = field(default_factory=list)
    pending: list[Fault] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self.released.set()

    def take(self, method: str, path: str) -> Fault | None:
        """The first that concerns the request; it does not happen again."""
        with self.lock:
            found = next((fault for fault in self.pending if fault.concerns(method, path)), None)
            if found:
                self.pending.remove(found)
            return found

    def next_failure(self) -> str | None:
        """Why the build that begins now fails; None where it does not."""
        with self.lock:
            return self.failing.pop(0) if self.failing else None
