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


class ReadAhead(Generic[Item]):
    """Items that a thread makes in advance, at most `depth`. The thread begins at once, and ends with the block."""

    def __init__(self, items: Iterable[Item], depth: int = 1) -> None:
        self._made: queue.Queue[_Next[Item] | _End] = queue.Queue(depth)
        self._stopped = threading.Event()
        arguments = (items, self._made, self._stopped)
        threading.Thread(target=_make, args=arguments, daemon=True, name="read-ahead").start()

    def __enter__(self) -> Iterator[Item]:
        """Return the items. An error of an item is raised in its place."""
        while isinstance(taken := self._made.get(), _Next):
            yield taken.item
        if taken.error is not None:
            raise taken.error

    def __exit__(self, *_: object) -> None:
        self._stopped.set()


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items, while a thread makes the next one. An error of an item is raised in its place."""
    with ReadAhead(items) as made:
        yield from made


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
