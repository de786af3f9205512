"""A queue of tasks for several threads; a running task may add others."""

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

Task = Callable[[], None]
Ready = Callable[[], bool]


class TaskQueue:
    """Tasks in their order. Each is made only when a thread takes it: a model may have 100,000 files."""

    def __init__(self, tasks: Iterable[Task]) -> None:
        self._waiting: list[tuple[Iterator[Task], Ready]] = [(iter(tasks), _always)]  # the last ones come first
        self._running = 0
        self._changed = threading.Condition()

    def add(self, tasks: Iterable[Task], ready: Ready | None = None) -> None:
        """Put tasks before all that wait. Call it from a running task.

        While `ready` returns False, the tasks behind them run first. It must become True before the running tasks end.
        """
        with self._changed:
            self._waiting.append((iter(tasks), ready or _always))
            self._changed.notify_all()

    def recheck(self) -> None:
        """Ask again if added tasks are ready. Call it from a running task."""
        with self._changed:
            self._changed.notify_all()

    def run(self, *, threads: int, stop: Callable[[], None]) -> None:
        """Run every task. The first error drops those that wait, calls `stop` for those that run, and is raised."""
        with ThreadPoolExecutor(threads) as pool:
            futures = [pool.submit(self._take_turns) for _ in range(threads)]
            try:
                for future in as_completed(futures):
                    future.result()
            except BaseException:
                self._drop()
                stop()
                raise

    def _take_turns(self) -> None:
        while task := self._next():
            try:
                task()
            finally:
                self._ended()

    def _next(self) -> Task | None:
        """Return the next task; None if there is none, and no running one could add any."""
        with self._changed:
            while (task := self._waiting_task()) is None and self._running:
                self._changed.wait()
            if task:
                self._running += 1
            return task

    def _waiting_task(self) -> Task | None:
        for tasks, ready in reversed(self._waiting):
            if ready():
                if task := next(tasks, None):
                    return task
                self._waiting.remove((tasks, ready))
        return None

    def _ended(self) -> None:
        with self._changed:
            self._running -= 1
            if not self._running:
                self._changed.notify_all()

    def _drop(self) -> None:
        with self._changed:
            self._waiting.clear()


def _always() -> bool:
    return True
