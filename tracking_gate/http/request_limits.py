"""Limits on requests: how many one caller has under way, and how much of bodies is held in memory."""

import asyncio
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from tracking_gate.errors import Busy, TooManyRequests

WAITING: Final = 8  # times as many as one caller may have under way: eight pods that start at once wait for each other
WAIT_SECONDS: Final = 60.0  # a client of MLflow waits 120 s
MOST_OF_BODIES: Final = (
    128 * 1024 * 1024
)  # bytes; the container has 512 MiB, and a parsed body is some two times as large


class CallerSlots:
    """Requests of one caller: `most` under way, the others wait in order, and what is too many is refused."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._under_way: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self, caller: Hashable, *, is_known: bool = True) -> None:
        """Raises TooManyRequests. What was taken is given back.

        All requests of a caller who is not known may wait: they are as many as the connections of one address.
        """
        under_way = self._under_way.get(caller, 0)
        if under_way < self._most:
            self._under_way[caller] = under_way + 1
            return
        waiting = self._waiting.setdefault(caller, deque())
        if is_known and len(waiting) >= self._most * WAITING:
            raise TooManyRequests("too many requests of yours are under way")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self.give_back(caller)
            elif turn in waiting:
                waiting.remove(turn)
            if isinstance(error, TimeoutError):
                raise TooManyRequests("the requests of yours that are under way do not end") from None
            raise

    def give_back(self, caller: Hashable) -> None:
        """Hand the slot to the one that waits longest."""
        waiting = self._waiting.get(caller)
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._waiting.pop(caller, None)
        left = self._under_way[caller] - 1
        if left:
            self._under_way[caller] = left
        else:
            del self._under_way[caller]


class BodyMemory:
    """Bytes of the bodies that are read whole, of all requests that are under way."""

    def __init__(self, most: int = MOST_OF_BODIES) -> None:
        self._most = most
        self._held = 0

    @contextmanager
    def held(self, length: int | None, most: int) -> Iterator[None]:
        """Hold the bytes of a body of `length`, at most `most`, which is also taken if the length is not known. Raises
        Busy.
        """
        size = most if length is None else min(length, most)
        if self._held + size > self._most:
            raise Busy("the gate holds as many large bodies as it can; try again")
        self._held += size
        try:
            yield
        finally:
            self._held -= size
