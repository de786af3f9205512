"""Answers in pieces: server-sent events as MLflow's agent server sends them, each `data: <JSON>`, at last `[DONE]`."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

import orjson

from serving_runtime.errors import ServingError
from serving_runtime.http.answer import Send
from serving_runtime.http.body import Receive, disconnected
from serving_runtime.http.errors import ClientDisconnectedError, DeadlineError, QueueFullError
from serving_runtime.protocols.interface import Headers, Inputs

if TYPE_CHECKING:
    from serving_runtime.model import Model
    from serving_runtime.observability.request_trace import RequestTrace

END: Final = object()
DONE: Final = b"data: [DONE]\n\n"
HEADERS: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx would keep the pieces back
)


class ModelStream:
    """A model's generator, which may wait for something: each step runs in a thread, all of them in one context.

    MLflow's generators set a context variable at the first step and reset it at the last, which must have the same one.
    """

    def __init__(self, pool: ThreadPoolExecutor, pieces: Generator[Any], trace: "RequestTrace | None") -> None:
        self.trace = trace
        self._pool = pool
        self._pieces = pieces
        self._context = contextvars.copy_context()
        if trace is not None:
            trace.streamed = True
            self._context.run(trace.make_current)
        self._step: asyncio.Future[Any] | None = None

    async def next(self) -> Any:
        """Return the next piece, END after the last. Raises ServingError."""
        self._step = asyncio.get_running_loop().run_in_executor(self._pool, self._context.run, self._next_piece)
        return await asyncio.shield(self._step)

    def _next_piece(self) -> Any:
        return next(self._pieces, END)

    async def close(self) -> None:
        """Close the generator when its current step has ended."""
        if self._step is not None:
            with suppress(ServingError):
                await self._step
        with suppress(ServingError):  # which is in the log, and which no client waits for
            await asyncio.get_running_loop().run_in_executor(self._pool, self._context.run, self._pieces.close)


class StreamedAnswer:
    """An answer with its first piece. A failure before that piece has a status of its own, a later one is an event."""

    status = 200

    def __init__(
        self, streams: "OpenStreams", pieces: ModelStream, first: Any, seconds: float, disconnect: "asyncio.Task[None]"
    ) -> None:
        self._streams = streams
        self._pieces = pieces
        self._first = first
        self._seconds = seconds
        self._disconnect = disconnect

    async def send(self, send: Send, *, headers: Headers) -> int:
        """Return the number of bytes that were sent. Raises ClientDisconnectedError."""
        sent = 0
        try:
            await send({"type": "http.response.start", "status": self.status, "headers": [*HEADERS, *headers]})
            async for frame in self._frames():
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                sent += len(frame)
            await send({"type": "http.response.body", "body": DONE})
        finally:
            self._streams.end(self._pieces, self._disconnect)
        return sent + len(DONE)

    async def _frames(self) -> AsyncIterator[bytes]:
        piece = self._first
        try:
            while piece is not END:
                yield self._streams.frame(piece)
                piece = await _next(self._pieces, self._disconnect, asyncio.get_running_loop().time() + self._seconds)
        except (ServingError, DeadlineError) as error:
            if self._pieces.trace is not None:
                self._pieces.trace.error = type(error).__name__
            yield b"data: %b\n\n" % orjson.dumps({"error": error.message})


class OpenStreams:
    """At most `most` streams, of which `threads` make a step at a time. `write` makes JSON of a piece.

    `write` raises OutputError.
    """

    def __init__(self, model: "Model", *, threads: int, most: int, write: Callable[[Any], bytes]) -> None:
        self._write = write
        self._model = model
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="stream")
        self._most = most
        self._open: set[ModelStream] = set()
        self._closing: set[asyncio.Task[None]] = set()

    async def start(
        self, inputs: Inputs, deadline: float, seconds: float, receive: Receive, trace: "RequestTrace | None" = None
    ) -> StreamedAnswer:
        """Return the answer with its first piece; each of the others may take `seconds`.

        Raises QueueFullError, DeadlineError, ClientDisconnectedError, ServingError.
        """
        if len(self._open) >= self._most:
            raise QueueFullError
        pieces = ModelStream(self._pool, self._model.stream(inputs.data, inputs.params), trace)
        self._open.add(pieces)
        disconnect = asyncio.ensure_future(disconnected(receive))
        try:
            first = await _next(pieces, disconnect, deadline)
        except BaseException:
            self.end(pieces, disconnect)
            raise
        return StreamedAnswer(self, pieces, first, seconds, disconnect)

    def frame(self, piece: Any) -> bytes:
        """Raises OutputError."""
        return b"data: %b\n\n" % self._write(piece)

    def end(self, pieces: ModelStream, disconnect: "asyncio.Task[None]") -> None:
        """Let the generator close when its current step has ended, without waiting for it."""
        disconnect.cancel()
        closing = asyncio.ensure_future(pieces.close())
        self._closing.add(closing)
        closing.add_done_callback(self._closing.discard)
        closing.add_done_callback(lambda _: self._open.discard(pieces))


async def _next(pieces: ModelStream, disconnect: "asyncio.Task[None]", deadline: float) -> Any:
    """Return the next piece, END after the last. Raises ClientDisconnectedError, DeadlineError, ServingError."""
    step = asyncio.ensure_future(pieces.next())
    timeout = deadline - asyncio.get_running_loop().time()
    done, _ = await asyncio.wait((step, disconnect), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    if step in done:
        return step.result()
    step.cancel()
    raise ClientDisconnectedError if disconnect in done else DeadlineError
