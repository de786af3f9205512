"""Work that several requests need at the same time, such as a question to Domino: it is done once for all of them."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")


class SharedWork(Generic[Key, Result]):
    """Does the work of each key once at a time. The work goes on if the clients of its requests hang up."""

    def __init__(self) -> None:
        self._tasks: dict[Key, asyncio.Task[Result]] = {}

    async def result(self, key: Key, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Return the result of the key's work. Raises what the work raises."""
        return await asyncio.shield(self.begin(key, work))

    def begin(self, key: Key, work: Callable[[], Coroutine[Any, Any, Result]]) -> "asyncio.Task[Result]":
        """Return the task that does the key's work: the one that is under way, or a new one."""
        if (task := self._tasks.get(key)) is None:
            task = self._tasks[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._end(key, done))
        return task

    def _end(self, key: Key, done: "asyncio.Task[Result]") -> None:
        del self._tasks[key]
        if not done.cancelled():
            done.exception()  # if no client waits any more, the event loop would log an error that was not looked at
