"""The protocols and the probes as one ASGI callable. It needs no framework: every page is a few bytes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import ServingError
from serving_runtime.input.coerce import Coerce
from serving_runtime.protocols.exchange import Headers, Message, Prediction, Protocol, Served, Status
from serving_runtime.server import access_log
from serving_runtime.server.answer import CLOSE, Answer, Send, document, fault, refusal, sending, unexpected
from serving_runtime.server.body import Receive, read_body
from serving_runtime.server.errors import (
    ClientGoneError,
    DeadlineError,
    EncodedBodyError,
    HttpError,
    LoadingError,
    MethodError,
    StoppingError,
    UnknownPathError,
)
from serving_runtime.server.lifecycle import Lifecycle, Phase
from serving_runtime.server.predictions import Predictions
from serving_runtime.server.request import Request
from serving_runtime.server.routes import ROUTES, Match, find, shape_of
from serving_runtime.server.settings import ServeSettings

if TYPE_CHECKING:
    from serving_runtime.model import Model

LINE: Final = Answer(body=b"\n")  # MLflow's answer to a ping

_log = logging.getLogger(__name__)


class Application:
    """Answers for one process."""

    def __init__(self, lifecycle: Lifecycle, settings: ServeSettings) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._predictions = Predictions(threads=settings.threads, queue=settings.max_queue)
        self._known: Served | None = None
        self._pages: Mapping[str, Callable[[], Answer]] = {
            "/": self._index,
            "/ping": self._ping,
            "/health": self._ping,
            "/version": self._version,
            "/livez": lambda: document({"status": "alive"}),
            "/readyz": self._ready,
            "/startupz": self._started,
        }

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = Request.from_scope(scope)
        try:
            answer = await self._answer(request, receive)
            await answer.send(send, headers=self._headers(request, answer), with_body=request.method != "HEAD")
            status, sent = answer.status, len(answer.body)
        except ClientGoneError:
            status, sent = access_log.CLIENT_LEFT, 0
        match = find(request.path)
        quiet = request.path in self._pages or (match is not None and match.route.page is not None)
        access_log.write(request, status=status, seconds=time.perf_counter() - began, sent=sent, quiet=quiet)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        """Raises ClientGoneError."""
        match = find(request.path)
        protocol = match.route.protocol if match else shape_of(request.path)
        try:
            return await self._of_protocol(match, request, receive) if match else self._page(request)
        except HttpError as error:
            return refusal(error, protocol)
        except ServingError as error:
            return fault(error, protocol)
        except ClientGoneError:
            raise
        except Exception:  # noqa: BLE001  the edge
            _log.exception("the server failed", extra={"fields": {"request_id": request.id}})
            return unexpected(protocol)

    async def _of_protocol(self, match: Match, request: Request, receive: Receive) -> Answer:
        if request.method not in match.route.methods:
            raise MethodError(", ".join(match.route.methods))
        if match.route.page is not None:
            status = Status(ready=self._lifecycle.phase is Phase.READY, served=self._served())
            return sending(match.route.page(status, match.path))
        return await self._predict(match, request, receive)

    def _headers(self, request: Request, answer: Answer) -> Headers:
        """Once the server is about to end, so are its connections: one that ends with an answer cannot lose the next request."""
        end = (CLOSE,) if self._lifecycle.phase is Phase.STOPPING and not answer.close else ()
        return ((b"x-request-id", request.id.encode()), *end)

    async def _predict(self, match: Match, request: Request, receive: Receive) -> Answer:
        model, served = self._model(), self._served()
        assert served is not None  # noqa: S101  for the types
        if request.encoded:
            raise EncodedBodyError
        limits = self._settings
        try:
            async with asyncio.timeout(limits.timeout):
                body = await read_body(request, receive, limit=limits.max_body, silence=limits.read_timeout)
                message = Message(body=body, headers=request.headers, path=match.path)
                return await self._predictions.run(partial(predicted, model, served, match.route.protocol, message), receive)
        except TimeoutError:
            raise DeadlineError(limits.timeout) from None

    def _model(self) -> "Model":
        if self._lifecycle.model is None:
            raise LoadingError
        return self._lifecycle.model

    def _served(self) -> Served | None:
        """Made when it is first needed: pandas is loaded with the model, not before it."""
        if self._lifecycle.model is not None and self._known is None:
            from serving_runtime.input.conform import conformer  # noqa: PLC0415  as above
            from serving_runtime.input.mlflow_casts import mlflow_conformer  # noqa: PLC0415  as above

            settings, model = self._settings, self._lifecycle.model
            signature = model.metadata.signature
            casts = settings.coerce is Coerce.MLFLOW
            self._known = Served(
                name=settings.model_name,
                version=settings.model_version or None,
                metadata=model.metadata,
                conform=mlflow_conformer(model.path, signature) if casts else conformer(signature),
                nan=settings.nan,
                coerce=settings.coerce,
            )
        return self._known

    def _page(self, request: Request) -> Answer:
        if request.path not in self._pages:
            raise UnknownPathError
        if request.method not in {"GET", "HEAD"}:
            raise MethodError("GET, HEAD")
        return self._pages[request.path]()

    def _index(self) -> Answer:
        routes = [f"{route.method} {route.pattern}" for route in ROUTES] + [f"GET {path}" for path in self._pages]
        # KServe's client of V1 takes the status for the server's liveness.
        return document({"status": "alive", "name": "model-api-runtime", "version": metadata.version("mlflow-model-api"), "routes": routes})

    def _ping(self) -> Answer:
        if self._lifecycle.phase is Phase.STOPPING:
            raise StoppingError
        self._model()
        return LINE

    def _version(self) -> Answer:
        """MLflow's clients compare it with their own."""
        return Answer(body=self._model().metadata.mlflow_version.encode())

    def _ready(self) -> Answer:
        phase = self._lifecycle.phase
        return document({"status": phase}, status=200 if phase is Phase.READY else 503)

    def _started(self) -> Answer:
        started = self._lifecycle.model is not None
        return document({"status": "started" if started else Phase.LOADING}, status=200 if started else 503)


def predicted(model: "Model", served: Served, protocol: Protocol, message: Message) -> Answer:
    """Raises ServingError."""
    inputs = protocol.read(message, served)
    began = time.perf_counter()
    value = model.ask(inputs.data, inputs.params)
    return sending(inputs.write(Prediction(value=value, seconds=time.perf_counter() - began)))
