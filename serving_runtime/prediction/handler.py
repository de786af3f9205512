"""The handler of one request for a prediction, from its body to its answer."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Final

import numpy as np

from serving_runtime.codec.encode import encode
from serving_runtime.http.body import Receive, decompressed, read_body
from serving_runtime.http.errors import DeadlineError, QueueFullError, TooManyRowsError
from serving_runtime.http.request_head import RequestHead
from serving_runtime.http.routes import Match
from serving_runtime.model import Model
from serving_runtime.observability.capture import CapturedPrediction
from serving_runtime.observability.request_stats import RequestStats
from serving_runtime.options import Coerce, Loader
from serving_runtime.prediction.batches import Batches, BatchLimits, ModelCall
from serving_runtime.prediction.call_cost import CallCost
from serving_runtime.prediction.streaming import OpenStreams, StreamedAnswer
from serving_runtime.prediction.warm_up import WarmUpResult
from serving_runtime.prediction.worker_context import LoadedModel, Read, WorkerContext
from serving_runtime.protocols.interface import Answer, Inputs, Message, Prediction, Protocol, ServedModel
from serving_runtime.settings import ServeSettings

# Reading at most this much takes about a millisecond. A thread takes as long, as Python runs one at a time, and the
# change to it a tenth more.
SMALL_BODY: Final = 128 << 10  # bytes
# A larger one is read by another process, which costs a millisecond for each megabyte.
LARGE_BODY: Final = 256 << 10
FEW_ROWS: Final = 500
FEW_NUMBERS: Final = 5000  # of an array, which is written in a tenth of a millisecond


class PredictionHandler:
    """Answers requests for predictions of one model. It must be created in the event loop that calls it."""

    def __init__(self, loaded: LoadedModel, settings: ServeSettings, context: WorkerContext) -> None:
        model, served, warm_up = loaded.model, loaded.served, loaded.warm_up
        self._served = served
        self._settings = settings
        self._metrics = context.metrics
        self._recorder = context.recorder
        self._read_large = context.read_large
        cost = CallCost()
        for timing in warm_up.timings:
            cost.observe(timing.rows, timing.cost)
        rows = settings.batch.most_rows(allowed=warm_up.may_merge)
        # A numeric library only computes; the code of a model's author may wait for something, such as a request.
        limits = BatchLimits(
            rows=rows,
            threads=settings.threads,
            queue=settings.max_queue,
            in_loop=model.of_numbers,
            reads_again=context.recorder.records,
        )
        self._batches = Batches(model, limits, cost, self._observe)
        write = partial(encode, wrapped=False, nan=served.nan, coerce=served.coerce)
        self._streams = OpenStreams(
            model, threads=settings.threads, most=settings.threads + settings.max_queue, write=write
        )
        # Reading a body of many megabytes takes seconds; requests with small bodies must not wait for it.
        self._small_body_thread = ThreadPoolExecutor(1, thread_name_prefix="reader")
        self._large_body_thread = ThreadPoolExecutor(1, thread_name_prefix="reader-of-large")
        self._in_threads = 0
        self._streamable = model.metadata.streamable

    async def answer(
        self, match: Match, request: RequestHead, receive: Receive, stats: RequestStats
    ) -> Answer | StreamedAnswer:
        """Raises HttpError, ServingError, ClientDisconnectedError."""
        deadline = asyncio.get_running_loop().time() + request.timeout(self._settings.timeout)
        message = await self._message(match, request, receive, deadline)
        return await self.predict(match.route.protocol, message, request, receive, stats, deadline)

    async def predict(  # noqa: PLR0913, PLR0917  each is a part of the request
        self,
        protocol: Protocol,
        message: Message,
        request: RequestHead,
        receive: Receive | None,
        stats: RequestStats,
        deadline: float,
    ) -> Answer | StreamedAnswer:
        """Answer a message that has come whole; `receive` is None if the call is cancelled when its client leaves.

        Raises HttpError, ServingError, ClientDisconnectedError.
        """
        weight = len(message.body) if message.weight is None else message.weight
        read = self._read(protocol.read, message, weight)
        began = time.perf_counter()
        inputs: Inputs = read() if weight <= SMALL_BODY else await self._in_thread(read, deadline, weight)
        stats.rows = inputs.rows
        self._check_rows(inputs.rows)
        stats.done = done = time.perf_counter()
        stats.read = done - began
        if inputs.stream and self._streamable and receive is not None:
            return await self._streams.start(inputs, deadline, self._settings.timeout, receive, stats.trace)
        queued = await self._batches.predict(inputs, deadline, receive, stats.trace)
        call = queued.call or ModelCall(1, 1, 0.0, 0.0)
        stats.predicted, stats.merged = call.seconds, call.requests
        stats.waited = max(0.0, time.perf_counter() - done - call.seconds)
        value = queued.future.result()
        write = partial(inputs.write, Prediction(value=value, seconds=call.seconds), self._served)
        answer: Answer = (
            write() if _is_short(value, inputs.rows) else await self._in_thread(write, deadline, len(message.body))
        )
        if self._recorder.wanted():
            self._record(protocol, request, inputs, value, weight + len(answer.body))
        return answer

    def _read(self, read: Read, message: Message, weight: int) -> Callable[[], Inputs]:
        """Return the function that reads the message, in this process or for a large body in another."""
        if self._read_large is not None and weight > LARGE_BODY:
            return partial(self._read_large, read, message)
        return partial(read, message, self._served)

    async def _message(self, match: Match, request: RequestHead, receive: Receive, deadline: float) -> Message:
        limits = self._settings
        body = await read_body(request, receive, limit=limits.max_body, silence=limits.read_timeout, deadline=deadline)
        if request.encoding != "identity":
            body = await self._in_thread(
                partial(decompressed, body, request.encoding, limit=limits.max_body), deadline, len(body)
            )
        return Message(body=body, headers=request.headers, path=match.path)

    async def _in_thread(self, call: Any, deadline: float, size: int) -> Any:
        """Call it in a thread, so that the loop goes on. `size` is that of the body in bytes.

        Raises DeadlineError, QueueFullError.
        """
        loop = asyncio.get_running_loop()
        if self._in_threads > self._settings.max_queue:
            raise QueueFullError
        self._in_threads += 1
        pool = self._small_body_thread if size <= LARGE_BODY else self._large_body_thread
        try:
            async with asyncio.timeout_at(deadline):
                return await loop.run_in_executor(pool, call)
        except TimeoutError:
            raise DeadlineError from None
        finally:
            self._in_threads -= 1

    def _check_rows(self, rows: int | None) -> None:
        if rows is not None and rows > self._settings.max_rows:
            raise TooManyRowsError(self._settings.max_rows)

    def _observe(self, call: ModelCall) -> None:
        self._metrics.predicted(call.requests, call.rows, call.seconds)
        self._metrics.queue_depth(self._batches.waiting)

    def _record(self, protocol: Protocol, request: RequestHead, inputs: Inputs, value: Any, size: int) -> None:
        at = time.time()
        self._recorder.put(
            CapturedPrediction(request.id, protocol.name, at, inputs.data, inputs.params, inputs.rows, value, size)
        )


def _is_short(value: Any, rows: int | None) -> bool:
    """Return True if the answer is written in less time than a thread needs to begin."""
    return (rows or 0) <= FEW_ROWS or (
        type(value) is np.ndarray and value.size <= FEW_NUMBERS and value.dtype != object
    )


def describe_for_clients(model: Model, settings: ServeSettings, warm_up: WarmUpResult, *, guarded: bool) -> ServedModel:
    """Return the model as the protocols see it. `guarded`: requests need a token."""
    return ServedModel(
        name=settings.model_name,
        version=settings.model_version or None,
        metadata=model.metadata,
        conform=_mlflow_casts(model) if settings.coerce is Coerce.MLFLOW else model.plan.conform,
        nan=settings.nan,
        coerce=settings.coerce,
        guarded=guarded,
        example_problem=warm_up.example_problem,
        serving={
            "loader": Loader.NATIVE if model.native else Loader.MLFLOW,
            "batches": {"merged": warm_up.may_merge, "reason": warm_up.against_merging},
        },
    )


def _mlflow_casts(model: Model) -> Any:
    from serving_runtime.input.mlflow_casts import mlflow_conformer  # noqa: PLC0415  MLflow takes a second, for this mode

    return mlflow_conformer(model.path, model.metadata.signature)
