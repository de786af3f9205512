"""The protocols and the probes as one ASGI callable. It needs no framework: every answer of its own is a few bytes."""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import ServingError
from serving_runtime.http.answer import (
    Send,
    http_error_answer,
    json_answer,
    serving_error_answer,
    unexpected_error_answer,
)
from serving_runtime.http.body import Receive
from serving_runtime.http.errors import (
    ClientDisconnectedError,
    HttpError,
    LoadingError,
    MethodError,
    StoppingError,
    UnknownPathError,
)
from serving_runtime.http.request_head import REQUEST_ID_HEADER, RequestHead
from serving_runtime.http.routes import ROUTES, Match, find, protocol_of_unknown_path
from serving_runtime.http.uvicorn_fast_path import send_answer
from serving_runtime.observability import lazy
from serving_runtime.observability.access_log import AccessLog
from serving_runtime.observability.request_stats import RequestStats
from serving_runtime.prediction.streaming import StreamedAnswer
from serving_runtime.prediction.worker_context import LoadedModel, Phase, WorkerContext
from serving_runtime.protocols.interface import CLOSE, Answer, Headers, Status
from serving_runtime.settings import ServeSettings

if TYPE_CHECKING:
    from serving_runtime.prediction.handler import PredictionHandler

LINE: Final = Answer(body=b"\n")  # MLflow's answer to a ping
METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)


class Application:
    """Answers for one process. `new_handler` is called in the event loop, at the first request for a prediction."""

    def __init__(
        self,
        settings: ServeSettings,
        context: WorkerContext,
        new_handler: "Callable[[], PredictionHandler] | None" = None,
    ) -> None:
        self._settings = settings
        self._context = context
        self._new_handler = new_handler
        self._handler: PredictionHandler | None = None
        self._metrics = context.metrics
        self._tokens = context.tokens
        self._tracer = context.tracer
        self._log = AccessLog()
        self._served = context.loaded.served if context.loaded else None
        self._endpoints: Mapping[str, Callable[[], Answer]] = {
            "/": self._index,
            "/ping": self._ping,
            "/health": self._ping,
            "/version": self._version,
            "/livez": lambda: json_answer({"status": "alive"}),
            "/readyz": self._readiness,
            "/startupz": self._startup,
            "/metrics": self._exposition,
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        stats = RequestStats()
        request = RequestHead.from_scope(scope)
        match = find(request.path)
        quiet = request.path in self._endpoints or (match is not None and match.route.endpoint is not None)
        if match:
            stats.protocol = match.route.protocol.name
        if not quiet:
            self._metrics.inflight(1)
            if self._tracer is not None:
                own_id = None if REQUEST_ID_HEADER in request.headers else request.id
                stats.trace = self._tracer.begin(request.method, request.trace, own_id)
        try:
            answer = await self._answer(match, request, receive, stats)
            stats.sent = await self._send(request, answer, stats, send)
            stats.status = answer.status
        except ClientDisconnectedError as error:
            self._metrics.refused_by(error)
        finally:
            stats.end()
            if not quiet:
                self._metrics.inflight(-1)
                self._metrics.answered(stats.protocol, stats.status, stats.seconds)
            self._log.write(request, stats, quiet=quiet)
            if self._tracer is not None and stats.trace is not None and stats.trace.sampled:
                route = match.route.pattern if match else None
                self._tracer.end(
                    stats.trace, stats, partial(lazy.http_span, request.method, request.path, route, request.id, stats)
                )

    async def _send(
        self, request: RequestHead, answer: Answer | StreamedAnswer, stats: RequestStats, send: Send
    ) -> int:
        """Return the number of bytes of the body. Raises ClientDisconnectedError."""
        if isinstance(answer, StreamedAnswer):
            return await answer.send(send, headers=self._headers(request, stats, closed=False))
        await send_answer(
            answer,
            send,
            headers=self._headers(request, stats, closed=answer.close),
            with_body=request.method != "HEAD",
        )
        return len(answer.body)

    async def _answer(
        self, match: Match | None, request: RequestHead, receive: Receive, stats: RequestStats
    ) -> Answer | StreamedAnswer:
        """Raises ClientDisconnectedError."""
        protocol = match.route.protocol if match else protocol_of_unknown_path(request.path)
        try:
            if self._tokens is not None:
                self._tokens.expect(request.path, request.headers.get(b"authorization", b""))
            return await self._by_route(match, request, receive, stats) if match else self._own_answer(request)
        except HttpError as error:
            self._metrics.refused_by(error)
            return http_error_answer(error, protocol)
        except ServingError as error:
            self._metrics.refused_by(error)
            return serving_error_answer(error, protocol)
        except ClientDisconnectedError:
            raise
        except Exception:  # noqa: BLE001  the edge
            _log.exception("the server failed", extra={"fields": {"request_id": request.id}})
            return unexpected_error_answer(protocol)

    async def _by_route(
        self, match: Match, request: RequestHead, receive: Receive, stats: RequestStats
    ) -> Answer | StreamedAnswer:
        if request.method not in match.route.methods:
            raise MethodError(", ".join(match.route.methods))
        if match.route.endpoint is not None:
            status = Status(ready=self._context.phase is Phase.READY, served=self._served)
            return match.route.endpoint.answer(status, match.path)
        return await self.prediction_handler().answer(match, request, receive, stats)

    def _headers(self, request: RequestHead, stats: RequestStats, *, closed: bool) -> Headers:
        """Return the headers of every answer. A server that is about to end closes each connection with an answer.

        A connection that ends with an answer cannot lose the next request.
        """
        end = (CLOSE,) if self._context.phase is Phase.STOPPING and not closed else ()
        timing = stats.server_timing
        traced = (stats.trace.header,) if stats.trace is not None and stats.trace.sampled else ()
        return (
            (REQUEST_ID_HEADER, request.id.encode()),
            *(((b"server-timing", timing),) if timing else ()),
            *traced,
            *end,
        )

    def prediction_handler(self) -> "PredictionHandler":
        """Return the handler, which is made in the event loop. Raises LoadingError."""
        if self._handler is None:
            if self._new_handler is None:
                raise LoadingError
            self._handler = self._new_handler()
        return self._handler

    def _loaded(self) -> LoadedModel:
        """Raises LoadingError."""
        if self._context.loaded is None:
            raise LoadingError
        return self._context.loaded

    def _own_answer(self, request: RequestHead) -> Answer:
        if request.path not in self._endpoints:
            raise UnknownPathError
        if request.method not in {"GET", "HEAD"}:
            raise MethodError("GET, HEAD")
        return self._endpoints[request.path]()

    def _index(self) -> Answer:
        routes = [f"{route.method} {route.pattern}" for route in ROUTES] + [f"GET {path}" for path in self._endpoints]
        # KServe's client of V1 takes the status for the server's liveness.
        return json_answer(
            {
                "status": "alive",
                "name": "model-api-runtime",
                "version": metadata.version("mlflow-model-api"),
                "routes": routes,
            }
        )

    def _ping(self) -> Answer:
        if self._context.phase is Phase.STOPPING:
            raise StoppingError
        self._loaded()
        return LINE

    def _version(self) -> Answer:
        """Return the version of MLflow that saved the model; MLflow's clients compare it with their own."""
        return Answer(body=self._loaded().model.metadata.mlflow_version.encode())

    def _exposition(self) -> Answer:
        name, version = self._settings.model_name, self._settings.model_version
        model = self._context.loaded.model if self._context.loaded else None
        return Answer(body=self._metrics.exposition(model, name, version), media_type=METRICS)

    def _readiness(self) -> Answer:
        phase = self._context.phase
        return json_answer({"status": phase}, status=200 if phase is Phase.READY else 503)

    def _startup(self) -> Answer:
        started = self._context.loaded is not None
        return json_answer({"status": "started" if started else Phase.LOADING}, status=200 if started else 503)
