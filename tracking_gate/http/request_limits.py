"""Limits on requests: their number for each caller, and the memory for bodies."""

import asyncio
from collections import deque
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from typing import Final

from tracking_gate.errors import Busy, TooLarge, TooManyRequests

WAITING_FACTOR: Final = (
    8  # times as many as one caller may have under way: eight pods that start at once wait for each other
)
WAIT_SECONDS: Final = 60.0  # a client of MLflow waits 120 s
MAX_BODY_MEMORY: Final = 128 * 1024 * 1024  # bytes; the container has 512 MiB
MAX_VALUES: Final = 100_000  # of one body; the largest of MLflow's clients, 1,000 metrics at once, has 10,000
VALUE_BYTES: Final = 256  # of a parsed value with its key: `{"":0},` becomes 200 bytes, two values
CHARACTER_BYTES: Final = 4  # of each character of a text in which one is outside the Basic Multilingual Plane


class CallerSlots:
    """Slots of each caller: `limit` requests are under way, others wait in order, and still others are refused."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._under_way: dict[Hashable, int] = {}
        self._waiting: dict[Hashable, deque[asyncio.Future[None]]] = {}

    async def take(self, caller: Hashable, *, is_known: bool = True) -> None:
        """Wait for a slot, which `give_back` returns. Raises TooManyRequests.

        Every request of an unknown caller may wait: the limit on connections of one address bounds their number.
        """
        under_way = self._under_way.get(caller, 0)
        if under_way < self._limit:
            self._under_way[caller] = under_way + 1
            return
        waiting = self._waiting.setdefault(caller, deque())
        if is_known and len(waiting) >= self._limit * WAITING_FACTOR:
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
                raise TooManyRequests("your requests that are under way do not end") from None
            raise

    def give_back(self, caller: Hashable) -> None:
        """Give the slot to the request that waits longest."""
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
    """Memory for the bodies that are read whole, of all requests under way, and for what is parsed of them."""

    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def held(self, length: int | None, limit: int) -> Iterator[None]:
        """Hold the bytes of a body of `length`, or `limit` bytes if the length is unknown or more. Raises Busy."""
        with self._held_bytes(limit if length is None else min(length, limit)):
            yield

    @contextmanager
    def held_parsed(self, body: bytes) -> Iterator[None]:
        """Hold what a body of JSON takes once it is parsed: of the smallest values 30 times its own length.

        Raises TooLarge if it has more values than any client sends, Busy.
        """
        if (values := count_values(body)) > MAX_VALUES:
            raise TooLarge(f"the body has more than {MAX_VALUES} values: send it in parts")
        text = len(body) * (1 if body.isascii() and b"\\u" not in body else CHARACTER_BYTES)
        # Half at most, so that one large body has room.
        with self._held_bytes(min(values * VALUE_BYTES + text, MAX_BODY_MEMORY // 2)):
            yield

    @contextmanager
    def _held_bytes(self, size: int) -> Iterator[None]:
        if self._held + size > MAX_BODY_MEMORY:
            raise Busy("the gate holds as many large bodies as it can; try again")
        self._held += size
        try:
            yield
        finally:
            self._held -= size


def count_values(body: bytes) -> int:
    """Return how many values a body of JSON has at most, without parsing it: each follows a `,`, a `[` or a `{`."""
    if (most := _marks(body)) <= MAX_VALUES:
        return most
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")  # every `"` that is left begins or ends a text
    if (texts := bare.count(b'"') // 2) > 2 * MAX_VALUES:  # keys, and values
        return (texts + 1) // 2
    return sum(_marks(part) for part in bare.split(b'"')[::2])


def _marks(body: bytes) -> int:
    return 1 + sum(body.count(mark) for mark in (b",", b"[", b"{"))
