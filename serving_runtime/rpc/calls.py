"""The calls of clients: each is read, answered or refused, counted and logged as a request of HTTP is."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import grpc
from grpc import aio

from serving_runtime.errors import MalformedRequestError, ServingError
from serving_runtime.http.errors import ClientDisconnectedError, HttpError, SlowBodyError
from serving_runtime.http.request_head import REQUEST_ID_HEADER, RequestHead
from serving_runtime.observability import lazy
from serving_runtime.observability.access_log import AccessLog
from serving_runtime.observability.metrics import UNKNOWN_PATH
from serving_runtime.observability.request_stats import RequestStats
from serving_runtime.prediction.handler import PredictionHandler
from serving_runtime.prediction.worker_context import Phase, WorkerContext
from serving_runtime.protocols.interface import Message, Status
from serving_runtime.protocols.open_inference.messages import INFERENCE, parsed, weight_of
from serving_runtime.protocols.open_inference.protocol import GRPC
from serving_runtime.rpc import health, reflection
from serving_runtime.rpc.endpoints import ENDPOINTS, RpcEndpoint
from serving_runtime.rpc.refusals import (
    Metadata,
    TooManyStreamsError,
    UnknownMethodError,
    metadata_of,
    refusal_of,
    sentence_of,
    status_of,
)
from serving_runtime.settings import ServeSettings

Context = Any  # grpc.aio's, of one call

INFER: Final = INFERENCE.method("ModelInfer").path
# Calls whose message has not come. With one more, the oldest is ended: a client that opens calls and leaves them keeps
# no other client out.
MOST_SILENT: Final = 1000
MOST_STREAMS: Final = 100  # of health and reflection, which last as long as the client likes

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unary:
    """A method of one request and one response. Only a method with a `protocol` is counted, and logged at level info.

    `answer` raises HttpError, ServingError.
    """

    path: str
    answer: Callable[[Context, RequestHead, RequestStats], Awaitable[bytes]]
    protocol: str | None = None
    is_open: bool = False


class Calls(grpc.GenericRpcHandler):  # type: ignore[misc]  # grpcio ships no types
    """The methods of one worker. `handler` returns the handler of predictions, which HTTP uses too."""

    def __init__(
        self, settings: ServeSettings, context: WorkerContext, handler: Callable[[], PredictionHandler]
    ) -> None:
        self._settings = settings
        self._context = context
        self._handler = handler
        self._metrics = context.metrics
        self._tokens = context.tokens
        self._tracer = context.tracer
        self._log = AccessLog()
        self._silent: dict[asyncio.Task[Any], float] = {}  # calls whose message has not come, and when it must
        self._streams = 0
        self._open = 0
        self._ended_at = 0.0
        self._end = asyncio.Event()
        unary = [
            Unary(path=INFER, answer=self._predict, protocol=GRPC.name),
            *(
                Unary(
                    path=endpoint.rpc.path, answer=partial(self._answer_of_endpoint, endpoint), is_open=endpoint.is_open
                )
                for endpoint in (*ENDPOINTS, health.ENDPOINT)
            ),
        ]
        stream = grpc.stream_stream_rpc_method_handler
        self._handlers = {
            **{method.path: self._unary_handler(method) for method in unary},
            health.WATCH.path: stream(self._watch),
            **{path: stream(partial(self._reflect, path)) for path in (reflection.INFO.path, reflection.OLDER_PATH)},
        }

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method."""
        path = handler_call_details.method
        return self._handlers.get(path) or self._unary_handler(
            Unary(path=path, answer=self._unknown, protocol=UNKNOWN_PATH)
        )

    def quiet_for(self, seconds: float) -> bool:
        """Return True if no call waits for its answer, and none did in the last seconds."""
        return not self._open and asyncio.get_running_loop().time() - self._ended_at > seconds

    def end_watches(self) -> None:
        """End the streams of health: a client that watches would hold the end of the server."""
        self._end.set()

    def _unary_handler(self, method: Unary) -> Any:
        # Declared as one of many messages: grpcio would wait for the only one without an end.
        return grpc.stream_unary_rpc_method_handler(partial(self._answered, method))

    async def _answered(self, method: Unary, _: Any, context: Context) -> bytes:
        """Return the response, or end the call with a refusal.

        Raises AbortError, which grpcio takes for the end of the call; CancelledError if the client has left.
        """
        request, stats, code = _head(method.path, context), RequestStats(), grpc.StatusCode.OK
        self._open += 1
        if method.protocol:
            stats.protocol = method.protocol
            self._metrics.inflight(1)
            if self._tracer is not None:
                own_id = None if REQUEST_ID_HEADER in request.headers else request.id
                stats.trace = self._tracer.begin(method.path[1:], request.trace, own_id)
        try:
            self._expect_token(method.path, request, is_open=method.is_open)
            body = await method.answer(context, request, stats)
            stats.status, stats.sent = 200, len(body)
            context.set_trailing_metadata(_trailers(request, stats))
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            self._metrics.refused_by(ClientDisconnectedError())
            raise
        except Exception as error:  # noqa: BLE001  the edge
            code = status_of(refusal_of(error))
            await self._refuse(context, request, stats, error)
        finally:
            self._open -= 1
            self._ended_at = asyncio.get_running_loop().time()
            stats.end()
            if method.protocol:
                self._metrics.inflight(-1)
                self._metrics.answered(stats.protocol, stats.status, stats.seconds)
            self._log.write(request, stats, quiet=method.protocol is None)
            if self._tracer is not None and stats.trace is not None and stats.trace.sampled:
                describe = partial(lazy.rpc_span, method.path[1:], code.name, request.id, stats)
                self._tracer.end(stats.trace, stats, describe)
        return body

    async def _refuse(self, context: Context, request: RequestHead, stats: RequestStats, error: Exception) -> None:
        """Raises AbortError."""
        if isinstance(error, HttpError | ServingError):
            self._metrics.refused_by(error)
        else:
            _log.error("the server failed", exc_info=error, extra={"fields": {"request_id": request.id}})
        refusal = refusal_of(error)
        stats.status = refusal.status
        metadata = (*metadata_of(error, refusal), *_trailers(request, stats))
        await context.abort(status_of(refusal), sentence_of(refusal), metadata)

    async def _predict(self, context: Context, request: RequestHead, stats: RequestStats) -> bytes:
        timeout, remaining = request.timeout(self._settings.timeout), context.time_remaining()
        deadline = asyncio.get_running_loop().time() + (timeout if remaining is None else min(timeout, remaining))
        body = await self._message(context, deadline)
        stats.received = len(body)
        message = Message(body=body, headers=request.headers, path={}, weight=weight_of(body))
        answer = await self._handler().predict(GRPC, message, request, None, stats, deadline)
        return answer.body  # type: ignore[union-attr]  # only answers of HTTP come in pieces

    async def _answer_of_endpoint(
        self, endpoint: RpcEndpoint, context: Context, _: RequestHead, stats: RequestStats
    ) -> bytes:
        body = await self._only_message(context)
        stats.received = len(body)
        response: bytes = endpoint.answer(parsed(endpoint.rpc.request, body), self._status()).SerializeToString()
        return response

    async def _unknown(self, *_: Any) -> bytes:
        raise UnknownMethodError

    async def _watch(self, _: Any, context: Context) -> None:
        async def states() -> AsyncIterator[Any]:
            body = await self._only_message(context)
            async for state in health.watch(parsed(health.WATCH.request, body), self._status, self._end):
                yield state

        await self._streamed(context, health.WATCH.path, states(), is_open=True)

    async def _reflect(self, path: str, requests: Any, context: Context) -> None:
        async def responses() -> AsyncIterator[Any]:
            async for body in requests:
                yield reflection.reflected(parsed(reflection.INFO.request, body))

        await self._streamed(context, path, responses(), is_open=False)

    async def _streamed(self, context: Context, path: str, responses: AsyncIterator[Any], *, is_open: bool) -> None:
        request, stats = _head(path, context), RequestStats()
        self._streams += 1
        try:
            self._admit(path, request, is_open=is_open)
            async for response in responses:
                await context.write(response.SerializeToString())
            stats.status = 200
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  the edge
            await self._refuse(context, request, stats, error)
        finally:
            self._streams -= 1
            stats.end()
            self._log.write(request, stats, quiet=True)

    def _admit(self, path: str, request: RequestHead, *, is_open: bool) -> None:
        """Raises UnauthorizedError, TooManyStreamsError."""
        self._expect_token(path, request, is_open=is_open)
        if self._streams > MOST_STREAMS:
            raise TooManyStreamsError

    def _expect_token(self, path: str, request: RequestHead, *, is_open: bool) -> None:
        """Raises UnauthorizedError."""
        if self._tokens is not None and not is_open:
            self._tokens.expect(path, request.headers.get(b"authorization", b""))

    async def _only_message(self, context: Context) -> bytes:
        """Raises SlowBodyError, MalformedRequestError."""
        return await self._message(context, asyncio.get_running_loop().time() + self._settings.read_timeout)

    async def _message(self, context: Context, deadline: float) -> bytes:
        """Return the message of a call that has one. Raises SlowBodyError, MalformedRequestError."""
        call = asyncio.current_task()
        assert call is not None  # noqa: S101  for the types
        self._silent[call] = deadline
        if len(self._silent) > MOST_SILENT:
            self._end_silent(next(iter(self._silent)))
        try:
            body = await context.read()
        except asyncio.CancelledError:
            if call in self._silent:  # its client has left
                raise
            call.uncancel()
            raise SlowBodyError from None
        finally:
            self._silent.pop(call, None)
        if body is aio.EOF:
            raise MalformedRequestError("the call has no message")
        message: bytes = body
        return message

    def end_late(self) -> None:
        """End the calls whose message has not come in time. A timer for each call costs more than this now and then."""
        now = asyncio.get_running_loop().time()
        for call in [call for call, deadline in self._silent.items() if deadline < now]:
            self._end_silent(call)

    def _end_silent(self, call: "asyncio.Task[Any]") -> None:
        del self._silent[call]
        call.cancel()

    def _status(self) -> Status:
        loaded = self._context.loaded
        return Status(ready=self._context.phase is Phase.READY, served=loaded.served if loaded else None)


def _head(path: str, context: Context) -> RequestHead:
    headers = [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in context.invocation_metadata()
    ]
    return RequestHead.from_scope({"method": "POST", "path": path, "headers": headers})


def _trailers(request: RequestHead, stats: RequestStats) -> Metadata:
    timing = stats.server_timing
    traced = (stats.trace.header,) if stats.trace is not None and stats.trace.sampled else ()
    return (
        ("x-request-id", request.id),
        *((("server-timing", timing.decode()),) if timing else ()),
        *((name.decode(), value.decode()) for name, value in traced),
    )
