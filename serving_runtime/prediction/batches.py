"""Requests that came while the model was busy become its next batch, without a timer."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import ServingError
from serving_runtime.http.body import Receive
from serving_runtime.http.errors import ClientGoneError, DeadlineError, QueueFullError
from serving_runtime.prediction.call_cost import CallCost, Stopwatch

if TYPE_CHECKING:
    from serving_runtime.model import Model
    from serving_runtime.protocols.interface import Inputs

MOST_REQUESTS: Final = 64  # of one batch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of the model: how many requests and rows it was for, its seconds, and what of them it took from the
    processor.
    """

    requests: int
    rows: int
    seconds: float
    cost: float


@dataclass(frozen=True, slots=True)
class BatchResult:
    """For each request of a batch a prediction or an exception, and the calls that it took."""

    results: Sequence[Any]
    calls: Sequence[ModelCall]


class QueuedRequest:
    """One request on its way through the model. `call` is the one that it was predicted by."""

    __slots__ = ("call", "deadline", "future", "inputs", "key", "receive", "rows", "timer", "watcher")

    def __init__(
        self, inputs: "Inputs", key: Hashable, deadline: float, receive: Receive, future: "asyncio.Future[Any]"
    ) -> None:
        self.inputs = inputs
        self.rows = inputs.rows or 1
        self.key = key
        self.deadline = deadline  # of the loop's clock
        self.receive = receive
        self.future = future
        self.timer: asyncio.TimerHandle | None = None
        self.watcher: asyncio.Task[None] | None = None
        self.call: ModelCall | None = None

    def unwatch(self) -> None:
        if self.timer:
            self.timer.cancel()
        if self.watcher:
            self.watcher.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """`rows` go together at most; 0 lets every request go alone. `threads` calls run at a time, `queue` requests wait
    for one of them.

    `in_loop`: a call that is known to be cheap needs no thread. A model whose own code may wait for something must have
    one.
    """

    rows: int
    threads: int
    queue: int
    in_loop: bool


class Batches:
    """`cost` is what is known of the model's calls so far. `observe` hears of each of them."""

    def __init__(
        self, model: "Model", limits: BatchLimits, cost: CallCost, observe: Callable[[ModelCall], None]
    ) -> None:
        from serving_runtime.input.conform_plan import key  # noqa: PLC0415  as above
        from serving_runtime.prediction.warm_up import split  # noqa: PLC0415  pandas is loaded with the model, not before it

        self._key_of, self._split = key, split
        self._model = model
        self._threads = limits.threads
        self._queue = limits.queue
        self._most_rows = limits.rows
        self._in_loop = limits.in_loop
        self._cost = cost
        self._observe = observe
        self._pool = ThreadPoolExecutor(limits.threads, thread_name_prefix="prediction")
        self._waiting: deque[QueuedRequest] = deque()
        self._running = 0
        self._scheduled = False
        self._loop = asyncio.get_running_loop()

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def predict(self, inputs: "Inputs", deadline: float, receive: Receive) -> QueuedRequest:
        """Its `future` is done, with the prediction. Where the client leaves or the time is over, work that waits is
        dropped, and a call that runs goes on. Raises QueueFullError, DeadlineError, ClientGoneError, ServingError.
        """
        if len(self._waiting) >= self._queue:
            self._make_room()
        work = QueuedRequest(inputs, self._key(inputs), deadline, receive, self._loop.create_future())
        self._waiting.append(work)
        if self._running >= self._threads:
            self._watch(work)
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        try:
            await work.future
        finally:
            work.unwatch()
        return work

    def _key(self, inputs: "Inputs") -> Hashable:
        if not self._most_rows or not inputs.rows or inputs.stream:
            return None
        return self._key_of(inputs.data, inputs.params)

    def _make_room(self) -> None:
        """Raises QueueFullError where the model is busy; where it is idle, all these came in one moment, and it takes
        them now.
        """
        self._flush()
        if self._running >= self._threads:
            self._waiting = deque(work for work in self._waiting if not work.future.done())
            if len(self._waiting) >= self._queue:
                raise QueueFullError

    def _flush(self) -> None:
        self._scheduled = False
        while self._running < self._threads and (batch := self._take()):
            rows = sum(work.rows for work in batch)
            if self._in_loop and self._cost.cheap(rows):
                self._deliver(batch, self._predict_batch(batch))
                if self._waiting and not self._scheduled:  # what has come by now goes first
                    self._scheduled = True
                    self._loop.call_soon(self._flush)
                return
            for work in batch:
                self._watch(work)
            self._running += 1
            self._pool.submit(self._predict_batch, batch).add_done_callback(
                lambda done, batch=batch: self._loop.call_soon_threadsafe(self._returned, batch, done.result())  # type: ignore[misc]
            )
        for work in self._waiting:
            self._watch(work)

    def _returned(self, batch: Sequence[QueuedRequest], result: BatchResult) -> None:
        self._running -= 1
        self._deliver(batch, result)
        self._flush()

    def _take(self) -> list[QueuedRequest]:
        """The next that still wants an answer, and those behind it that can go with it."""
        batch: list[QueuedRequest] = []
        others: list[QueuedRequest] = []
        rows = 0
        now = self._loop.time()
        while self._waiting and len(batch) < MOST_REQUESTS:
            work = self._waiting.popleft()
            if work.future.done():
                continue
            if work.deadline <= now:
                work.future.set_exception(DeadlineError())
            elif not batch:
                batch.append(work)
                rows = work.rows
                if work.key is None:
                    break
            elif work.key == batch[0].key and rows + work.rows <= self._most_rows:
                batch.append(work)
                rows += work.rows
            else:
                others.append(work)
        self._waiting.extendleft(reversed(others))
        return batch

    def _predict_batch(self, batch: Sequence[QueuedRequest]) -> BatchResult:
        """In any thread."""
        if len(batch) > 1:
            rows = sum(work.rows for work in batch)
            watch = Stopwatch(exact=self._cost.doubtful(rows))
            try:
                pieces = self._together(batch)
            except Exception:  # noqa: BLE001  one of them is at fault, and is found below
                pieces = None
            if pieces is not None:
                watch.stop()
                return BatchResult(pieces, [ModelCall(len(batch), rows, watch.seconds, watch.cost)])
        return self._one_by_one(batch)

    def _together(self, batch: Sequence[QueuedRequest]) -> list[Any] | None:
        predictions = self._model.predict_merged([work.inputs.data for work in batch], batch[0].inputs.params)
        pieces = self._split(predictions, [work.rows for work in batch])
        if pieces is None:
            self._most_rows = 0
            _log.warning("the model does not predict one value for each row: its requests are no longer merged")
        return pieces

    def _one_by_one(self, batch: Sequence[QueuedRequest]) -> BatchResult:
        results: list[Any] = []
        calls: list[ModelCall] = []
        for work in batch:
            watch = Stopwatch(exact=self._cost.doubtful(work.rows))
            try:
                results.append(self._model.predict_conformed(work.inputs.data, work.inputs.params))
            except ServingError as error:
                results.append(error)
            watch.stop()
            calls.append(ModelCall(1, work.rows, watch.seconds, watch.cost))
        return BatchResult(results, calls)

    def _deliver(self, batch: Sequence[QueuedRequest], done: BatchResult) -> None:
        for call in done.calls:
            self._cost.observe(call.rows, call.cost)
            self._observe(call)
        together = done.calls[0] if len(done.calls) == 1 else None
        for work, result, own in zip(batch, done.results, cycle((together,)) if together else done.calls, strict=False):
            work.call = own
            if work.future.done():  # nobody waits for it any more
                continue
            if isinstance(result, Exception):
                work.future.set_exception(result)
            else:
                work.future.set_result(result)

    def _watch(self, work: QueuedRequest) -> None:
        """What waits for a thread may wait long: its time can end, and its client can leave."""
        if work.timer or work.future.done():
            return
        work.timer = self._loop.call_at(work.deadline, _fail, work.future, DeadlineError())
        work.watcher = self._loop.create_task(_departure(work))


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


async def _departure(work: QueuedRequest) -> None:
    while (await work.receive())["type"] != "http.disconnect":
        continue
    _fail(work.future, ClientGoneError())
