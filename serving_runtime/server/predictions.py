"""Runs predictions beside the event loop: so many at a time, so many that wait, and none for a client that has left."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from serving_runtime.server.body import Receive
from serving_runtime.server.errors import ClientGoneError, QueueFullError

Result = TypeVar("Result")


class Predictions:
    """`threads` run, `queue` wait; a call beyond that is refused at once, which is kinder than an answer that comes too late."""

    def __init__(self, *, threads: int, queue: int) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="prediction")
        self._most = threads + queue
        self._here = 0
        self._lock = threading.Lock()

    async def run(self, call: Callable[[], Result], receive: Receive) -> Result:
        """What `call` returns. Where the client leaves, or the caller is cancelled, a call that waits is dropped; one that runs goes on.

        Raises QueueFullError, ClientGoneError, and what `call` raises.
        """
        if self._here >= self._most:
            raise QueueFullError
        with self._lock:
            self._here += 1
        submitted = self._pool.submit(call)
        submitted.add_done_callback(self._leave)
        prediction = asyncio.wrap_future(submitted)
        departure = asyncio.ensure_future(_departure(receive))
        try:
            await asyncio.wait((prediction, departure), return_when=asyncio.FIRST_COMPLETED)
            if not prediction.done():
                raise ClientGoneError
            return prediction.result()
        finally:
            departure.cancel()
            prediction.cancel()

    def _leave(self, _: object) -> None:
        with self._lock:  # called by whichever thread ends the call
            self._here -= 1


async def _departure(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        continue
