"""The protocols and the probes as one ASGI callable. It needs no framework: every page is a few bytes."""

import logging
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import ServingError
from serving_runtime.http.answer import Send, document, fault, refusal, send_answer, unexpected
from serving_runtime.http.body import Receive
from serving_runtime.http.errors import (
    ClientGoneError,
    HttpError,
    LoadingError,
    MethodError,
    StoppingError,
    UnknownPathError,
)
from serving_runtime.http.request import Request
from serving_runtime.http.routes import ROUTES, Match, find, shape_of
from serving_runtime.observability.access_log import AccessLog
from serving_runtime.observability.request_stats import RequestStats
from serving_runtime.options import Coerce, Loader
from serving_runtime.prediction.handler import PredictionHandler
from serving_runtime.prediction.lifecycle import Lifecycle, Phase
from serving_runtime.prediction.streaming import StreamedAnswer
from serving_runtime.prediction.worker_context import WorkerContext
from serving_runtime.protocols.interface import CLOSE, Answer, Headers, ServedModel, Status
from serving_runtime.settings import ServeSettings

if TYPE_CHECKING:
    from serving_runtime.input.conform_plan import Conform
    from serving_runtime.model import Model

LINE: Final = Answer(body=b"\n")  # MLflow's answer to a ping
METRICS: Final = b"text/plain; version=0.0.4; charset=utf-8"

_log = logging.getLogger(__name__)


class Application:
    """Answers for one process."""

    def __init__(self, lifecycle: Lifecycle, settings: ServeSettings, context: WorkerContext) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._context = context
        self._metrics = context.metrics
        self._tokens = context.tokens
        self._log = AccessLog()
        self._known: ServedModel | None = None
        self._predicting: PredictionHandler | None = None
        self._pages: Mapping[str, Callable[[], Answer]] = {
            "/": self._index,
            "/ping": self._ping,
            "/health": self._ping,
            "/version": self._version,
            "/livez": lambda: document({"status": "alive"}),
            "/readyz": self._ready,
            "/startupz": self._started,
            "/metrics": self._counted,
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        stats = RequestStats()
        request = Request.from_scope(scope)
        match = find(request.path)
        quiet = request.path in self._pages or (match is not None and match.route.page is not None)
        if match:
            stats.protocol = match.route.protocol.name
        if not quiet:
            self._metrics.inflight(1)
        try:
            answer = await self._answer(match, request, receive, stats)
            stats.sent = await self._send(request, answer, stats, send)
            stats.status = answer.status
        except ClientGoneError as error:
            self._metrics.refused_by(error)
        finally:
            stats.end()
            if not quiet:
                self._metrics.inflight(-1)
                self._metrics.answered(stats.protocol, stats.status, stats.seconds)
            self._log.write(request, stats, quiet=quiet)

    async def _send(self, request: Request, answer: Answer | StreamedAnswer, stats: RequestStats, send: Send) -> int:
        """The bytes of the body. Raises ClientGoneError."""
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
        self, match: Match | None, request: Request, receive: Receive, stats: RequestStats
    ) -> Answer | StreamedAnswer:
        """Raises ClientGoneError."""
        protocol = match.route.protocol if match else shape_of(request.path)
        try:
            if self._tokens is not None:
                self._tokens.expect(request.path, request.headers.get(b"authorization", b""))
            return await self._of_protocol(match, request, receive, stats) if match else self._page(request)
        except HttpError as error:
            self._metrics.refused_by(error)
            return refusal(error, protocol)
        except ServingError as error:
            self._metrics.refused_by(error)
            return fault(error, protocol)
        except ClientGoneError:
            raise
        except Exception:  # noqa: BLE001  the edge
            _log.exception("the server failed", extra={"fields": {"request_id": request.id}})
            return unexpected(protocol)

    async def _of_protocol(
        self, match: Match, request: Request, receive: Receive, stats: RequestStats
    ) -> Answer | StreamedAnswer:
        if request.method not in match.route.methods:
            raise MethodError(", ".join(match.route.methods))
        if match.route.page is not None:
            status = Status(ready=self._lifecycle.phase is Phase.READY, served=self._served())
            return match.route.page(status, match.path)
        return await self._prediction().answer(match, request, receive, stats)

    def _headers(self, request: Request, stats: RequestStats, *, closed: bool) -> Headers:
        """Once the server is about to end, so are its connections: one that ends with an answer cannot lose the next
        request.
        """
        end = (CLOSE,) if self._lifecycle.phase is Phase.STOPPING and not closed else ()
        timing = stats.server_timing
        return ((b"x-request-id", request.id.encode()), *(((b"server-timing", timing),) if timing else ()), *end)

    def _prediction(self) -> PredictionHandler:
        """Made with the first request, in the loop that it belongs to. Raises LoadingError."""
        if self._predicting is None:
            model, served = self._model(), self._served()
            assert served is not None  # noqa: S101  for the types
            self._predicting = PredictionHandler(model, served, self._settings, self._context)
        return self._predicting

    def _model(self) -> "Model":
        if self._lifecycle.model is None:
            raise LoadingError
        return self._lifecycle.model

    def _served(self) -> ServedModel | None:
        """Made when it is first needed: pandas is loaded with the model, not before it."""
        if self._lifecycle.model is not None and self._known is None:
            settings, model = self._settings, self._lifecycle.model
            self._known = ServedModel(
                name=settings.model_name,
                version=settings.model_version or None,
                metadata=model.metadata,
                conform=self._casting(model) if settings.coerce is Coerce.MLFLOW else model.plan.conform,
                nan=settings.nan,
                coerce=settings.coerce,
                guarded=self._tokens is not None,
                serving={
                    "loader": Loader.NATIVE if model.native else Loader.MLFLOW,
                    "batches": {"merged": self._context.may_merge, "reason": self._context.against},
                },
            )
        return self._known

    def _casting(self, model: "Model") -> "Conform":
        from serving_runtime.input.mlflow_casts import (  # noqa: PLC0415  pandas is loaded with the model, not before it
            mlflow_conformer,
        )

        return mlflow_conformer(model.path, model.metadata.signature)

    def _page(self, request: Request) -> Answer:
        if request.path not in self._pages:
            raise UnknownPathError
        if request.method not in {"GET", "HEAD"}:
            raise MethodError("GET, HEAD")
        return self._pages[request.path]()

    def _index(self) -> Answer:
        routes = [f"{route.method} {route.pattern}" for route in ROUTES] + [f"GET {path}" for path in self._pages]
        # KServe's client of V1 takes the status for the server's liveness.
        return document(
            {
                "status": "alive",
                "name": "model-api-runtime",
                "version": metadata.version("mlflow-model-api"),
                "routes": routes,
            }
        )

    def _ping(self) -> Answer:
        if self._lifecycle.phase is Phase.STOPPING:
            raise StoppingError
        self._model()
        return LINE

    def _version(self) -> Answer:
        """MLflow's clients compare it with their own."""
        return Answer(body=self._model().metadata.mlflow_version.encode())

    def _counted(self) -> Answer:
        name, version = self._settings.model_name, self._settings.model_version
        return Answer(body=self._metrics.exposition(self._lifecycle.model, name, version), media_type=METRICS)

    def _ready(self) -> Answer:
        phase = self._lifecycle.phase
        return document({"status": phase}, status=200 if phase is Phase.READY else 503)

    def _started(self) -> Answer:
        started = self._lifecycle.model is not None
        return document({"status": "started" if started else Phase.LOADING}, status=200 if started else 503)
