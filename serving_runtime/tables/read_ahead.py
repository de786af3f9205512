"""Reading of the next chunk while the one before is predicted."""

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
WAIT: Final = 0.2  # seconds between checks that the reader is still wanted


@dataclass(frozen=True, slots=True)
class _Next(Generic[Item]):
    item: Item


@dataclass(frozen=True, slots=True)
class _End:
    error: BaseException | None


def read_ahead(items: Iterable[Item], depth: int = 1) -> Iterator[Item]:
    """Yield the items, `depth` of which a thread makes in advance. Raises what making them raises, in its place."""
    made: queue.Queue[_Next[Item] | _End] = queue.Queue(depth)
    stopped = threading.Event()
    thread = threading.Thread(target=_make, args=(items, made, stopped), daemon=True, name="read-ahead")
    thread.start()
    try:
        while isinstance(taken := made.get(), _Next):
            yield taken.item
        if taken.error is not None:
            raise taken.error
    finally:
        stopped.set()


def _make(items: Iterable[Item], made: "queue.Queue[_Next[Item] | _End]", stopped: threading.Event) -> None:
    error: BaseException | None = None
    try:
        for item in items:
            if not _put(_Next(item), made, stopped):
                return
    except BaseException as raised:  # noqa: BLE001  it is raised in the thread that takes the items
        error = raised
    _put(_End(error), made, stopped)


def _put(item: "_Next[Item] | _End", made: "queue.Queue[_Next[Item] | _End]", stopped: threading.Event) -> bool:
    while not stopped.is_set():
        try:
            made.put(item, timeout=WAIT)
        except queue.Full:
            continue
        return True
    return False
