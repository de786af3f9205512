"""Limits on attempts to authenticate, checked before the work of an attempt: a password's hash, a request to Domino."""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final

from tracking_gate.errors import TooManyAttempts

PERIOD_SECONDS: Final = 60.0
MAX_KEYS: Final = 10_000
MAX_WAITING: Final = 64  # attempts that wait for others of the same key
MESSAGE: Final = "too many tokens or passwords that are not accepted; wait a minute"


@dataclass(slots=True)
class State:
    """The attempts of one key: the times of failures, the number under way, and the attempts that wait for them."""

    failed: deque[float] = field(default_factory=deque)
    under_way: int = 0
    waiting: deque[asyncio.Future[None]] = field(default_factory=deque)


class AttemptLimits:
    """Counts failures by key. An attempt that could exceed the limit waits for the attempts under way."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._states: OrderedDict[Hashable, State] = OrderedDict()

    async def begin(self, limits: Mapping[Hashable, int]) -> None:
        """Begin an attempt, which `end` must end. Raises TooManyAttempts if a key has failed as often as its limit."""
        begun = []
        try:
            for key, limit in limits.items():
                await self._begin_one(key, limit)
                begun.append(key)
        except BaseException:
            for key in begun:
                self._end_one(key, failed=False)
            raise

    def end(self, limits: Mapping[Hashable, int], *, failed: bool) -> None:
        for key in limits:
            self._end_one(key, failed=failed)

    async def _begin_one(self, key: Hashable, limit: int) -> None:
        state = self._states.setdefault(key, State())
        self._states.move_to_end(key)
        self._drop_old()
        while True:
            now = self._clock()
            while state.failed and state.failed[0] <= now - PERIOD_SECONDS:
                state.failed.popleft()
            if len(state.failed) >= limit or len(state.waiting) >= MAX_WAITING:
                raise TooManyAttempts(MESSAGE)
            if len(state.failed) + state.under_way < limit:
                state.under_way += 1
                return
            waiter = asyncio.get_running_loop().create_future()
            state.waiting.append(waiter)
            try:
                await waiter
            finally:
                if waiter in state.waiting:
                    state.waiting.remove(waiter)

    def _end_one(self, key: Hashable, *, failed: bool) -> None:
        state = self._states.get(key)
        if state is None:
            return
        state.under_way -= 1
        if failed:
            state.failed.append(self._clock())
        while state.waiting:
            waiter = state.waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)

    def _drop_old(self) -> None:
        """Forget the keys that were not used for longest, up to the first with attempts under way."""
        while len(self._states) > MAX_KEYS:
            key, state = next(iter(self._states.items()))
            if state.under_way:
                return
            del self._states[key]
