"""Batches of requests: those that came while the model was busy become its next call, without a timer."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import ServingError
from serving_runtime.http.body import Receive, disconnected
from serving_runtime.http.errors import ClientDisconnectedError, DeadlineError, QueueFullError
from serving_runtime.input.merging import merge_key
from serving_runtime.model import Model
from serving_runtime.prediction.call_cost import CallCost, Stopwatch
from serving_runtime.prediction.warm_up import split
from serving_runtime.protocols.interface import Inputs
from serving_runtime.pyfunc import failed

if TYPE_CHECKING:
    from serving_runtime.observability.request_trace import RequestTrace

MOST_REQUESTS: Final = 64  # of one batch

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ModelCall:
    """One call of the model for so many requests and rows. `cost` is the part of `seconds` that is the model's own."""

    requests: int
    rows: int
    seconds: float
    cost: float


@dataclass(frozen=True, slots=True)
class BatchResult:
    """A prediction or an exception for each request of a batch, and the calls of the model that they took."""

    results: Sequence[Any]
    calls: Sequence[ModelCall]


class QueuedRequest:
    """One request that waits for the model, or is in a call of it. `call` is set once it is predicted."""

    __slots__ = ("call", "deadline", "future", "inputs", "key", "receive", "rows", "timer", "trace", "watcher")

    def __init__(  # noqa: PLR0913, PLR0917  each is of the request
        self,
        inputs: Inputs,
        key: Hashable,
        deadline: float,
        receive: Receive | None,
        future: "asyncio.Future[Any]",
        trace: "RequestTrace | None",
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
        self.trace = trace

    def unwatch(self) -> None:
        if self.timer:
            self.timer.cancel()
        if self.watcher:
            self.watcher.cancel()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchLimits:
    """At most `rows` are merged in a call; 0 merges none. `threads` calls run at a time, `queue` requests wait.

    `in_loop`: a call that is known to be cheap runs in the event loop, without a thread. A model whose own code may
    wait for something must have a thread. `reads_again`: the input of a request is read after its call, to record it.
    """

    rows: int
    threads: int
    queue: int
    in_loop: bool
    reads_again: bool = False


class Batches:
    """`cost` estimates the seconds of a call, and learns from each. `observe` is called with each call."""

    def __init__(self, model: Model, limits: BatchLimits, cost: CallCost, observe: Callable[[ModelCall], None]) -> None:
        self._model = model
        self._threads = limits.threads
        self._queue = limits.queue
        self._most_rows = limits.rows
        self._in_loop = limits.in_loop
        self._only_use = not limits.reads_again
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

    async def predict(
        self, inputs: Inputs, deadline: float, receive: Receive | None, trace: "RequestTrace | None" = None
    ) -> QueuedRequest:
        """Return the request with its prediction in `future`. `receive` is None if a client who leaves cancels this;
        `trace` is told about the call of the model.

        If the client leaves or the deadline passes, a request that waits is dropped, and a call that runs goes on.
        Raises QueueFullError, DeadlineError, ClientDisconnectedError, ServingError.
        """
        if len(self._waiting) >= self._queue:
            self._check_queue()
        queued = QueuedRequest(inputs, self._merge_key(inputs), deadline, receive, self._loop.create_future(), trace)
        self._waiting.append(queued)
        if self._running >= self._threads:
            self._watch(queued)
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)
        try:
            await queued.future
        finally:
            queued.unwatch()
        return queued

    def _merge_key(self, inputs: Inputs) -> Hashable:
        if not self._most_rows or not inputs.rows or inputs.stream:
            return None
        return merge_key(inputs.data, inputs.params)

    def _check_queue(self) -> None:
        """Raise QueueFullError if the model is busy; an idle model first takes all requests that came at once."""
        self._flush()
        if self._running >= self._threads:
            self._waiting = deque(queued for queued in self._waiting if not queued.future.done())
            if len(self._waiting) >= self._queue:
                raise QueueFullError

    def _flush(self) -> None:
        self._scheduled = False
        while self._running < self._threads and (batch := self._take()):
            rows = sum(queued.rows for queued in batch)
            if self._in_loop and self._cost.is_cheap(rows):
                self._deliver(batch, self._predict_batch(batch))
                if self._waiting and not self._scheduled:  # events that have come by now are handled first
                    self._scheduled = True
                    self._loop.call_soon(self._flush)
                return
            for queued in batch:
                self._watch(queued)
            self._running += 1
            self._pool.submit(self._predict_batch, batch).add_done_callback(
                lambda done, batch=batch: self._loop.call_soon_threadsafe(self._returned, batch, done.result())  # type: ignore[misc]
            )
        for queued in self._waiting:
            self._watch(queued)

    def _returned(self, batch: Sequence[QueuedRequest], result: BatchResult) -> None:
        self._running -= 1
        self._deliver(batch, result)
        self._flush()

    def _take(self) -> list[QueuedRequest]:
        """Return the next request that still waits for an answer, and the requests that can be merged with it."""
        batch: list[QueuedRequest] = []
        others: list[QueuedRequest] = []
        rows = 0
        now = self._loop.time()
        while self._waiting and len(batch) < MOST_REQUESTS:
            queued = self._waiting.popleft()
            if queued.future.done():
                continue
            if queued.deadline <= now:
                queued.future.set_exception(DeadlineError())
            elif not batch:
                batch.append(queued)
                rows = queued.rows
                if queued.key is None:
                    break
            elif queued.key == batch[0].key and rows + queued.rows <= self._most_rows:
                batch.append(queued)
                rows += queued.rows
            else:
                others.append(queued)
        self._waiting.extendleft(reversed(others))
        return batch

    def _predict_batch(self, batch: Sequence[QueuedRequest]) -> BatchResult:
        """Call the model, in any thread. Spans of its own code become children of the first request's."""
        if batch[0].trace is not None and self._model.runs_own_code:
            return batch[0].trace.run(self._called, batch)
        return self._called(batch)

    def _called(self, batch: Sequence[QueuedRequest]) -> BatchResult:
        if len(batch) > 1:
            rows = sum(queued.rows for queued in batch)
            watch = Stopwatch(exact=self._cost.is_doubtful(rows))
            try:
                pieces = self._merged(batch)
            except BaseException:  # noqa: BLE001  one of them is at fault, and is found below
                pieces = None
            if pieces is not None:
                watch.stop()
                return BatchResult(pieces, [ModelCall(len(batch), rows, watch.seconds, watch.cost)])
        return self._one_by_one(batch)

    def _merged(self, batch: Sequence[QueuedRequest]) -> list[Any] | None:
        predictions = self._model.predict_merged([queued.inputs.data for queued in batch], batch[0].inputs.params)
        pieces = split(predictions, [queued.rows for queued in batch])
        if pieces is None:
            self._most_rows = 0
            _log.warning("the model does not predict one value for each row: its requests are no longer merged")
        return pieces

    def _one_by_one(self, batch: Sequence[QueuedRequest]) -> BatchResult:
        results: list[Any] = []
        calls: list[ModelCall] = []
        for queued in batch:
            watch = Stopwatch(exact=self._cost.is_doubtful(queued.rows))
            try:
                inputs = queued.inputs
                results.append(self._model.predict_conformed(inputs.data, inputs.params, only_use=self._only_use))
            except ServingError as error:
                results.append(error)
            except BaseException as error:  # noqa: BLE001  the edge of a thread: no other request would get its turn
                results.append(failed(error))
            watch.stop()
            calls.append(ModelCall(1, queued.rows, watch.seconds, watch.cost))
        return BatchResult(results, calls)

    def _deliver(self, batch: Sequence[QueuedRequest], done: BatchResult) -> None:
        for call in done.calls:
            self._cost.observe(call.rows, call.cost)
            self._observe(call)
        together = done.calls[0] if len(done.calls) == 1 else None
        for queued, result, own in zip(
            batch, done.results, cycle((together,)) if together else done.calls, strict=False
        ):
            queued.call = own
            if queued.trace is not None and queued.trace.sampled:
                leader = batch[0].trace if together else None
                queued.trace.called(own.seconds, own.requests, own.rows, leader=leader, result=result)
            if queued.future.done():  # its client has left, or its deadline has passed
                continue
            if isinstance(result, Exception):
                queued.future.set_exception(result)
            else:
                queued.future.set_result(result)

    def _watch(self, queued: QueuedRequest) -> None:
        """Watch the deadline and the client of a request, which may wait long for a thread."""
        if queued.timer or queued.future.done():
            return
        queued.timer = self._loop.call_at(queued.deadline, _fail, queued.future, DeadlineError())
        if queued.receive is not None:
            queued.watcher = self._loop.create_task(_fail_when_disconnected(queued, queued.receive))


def _fail(future: "asyncio.Future[Any]", error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


async def _fail_when_disconnected(request: QueuedRequest, receive: Receive) -> None:
    await disconnected(receive)
    _fail(request.future, ClientDisconnectedError())
