"""MLflow's scoring protocol and the probes as one ASGI callable. It needs no framework: every page is a few bytes."""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

from serving_runtime.errors import ServingError
from serving_runtime.server import access_log
from serving_runtime.server.answer import CLOSE, UNEXPECTED, Answer, Headers, Send, document, fault, refusal
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
from serving_runtime.server.settings import ServeSettings

if TYPE_CHECKING:
    from serving_runtime.model import Model

INVOCATIONS: Final = "/invocations"
LINE: Final = Answer(body=b"\n")  # MLflow's answer to a ping

_log = logging.getLogger(__name__)


class Application:
    """Answers for one process."""

    def __init__(self, lifecycle: Lifecycle, settings: ServeSettings) -> None:
        self._lifecycle = lifecycle
        self._settings = settings
        self._predictions = Predictions(threads=settings.threads, queue=settings.max_queue)
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
        quiet = request.path in self._pages
        access_log.write(request, status=status, seconds=time.perf_counter() - began, sent=sent, quiet=quiet)

    async def _answer(self, request: Request, receive: Receive) -> Answer:
        """Raises ClientGoneError."""
        try:
            return await self._invocations(request, receive) if request.path == INVOCATIONS else self._page(request)
        except HttpError as error:
            return refusal(error)
        except ServingError as error:
            return fault(error)
        except ClientGoneError:
            raise
        except Exception:  # noqa: BLE001  the edge
            _log.exception("the server failed", extra={"fields": {"request_id": request.id}})
            return UNEXPECTED

    def _headers(self, request: Request, answer: Answer) -> Headers:
        """Once the server is about to end, so are its connections: one that ends with an answer cannot lose the next request."""
        end = (CLOSE,) if self._lifecycle.phase is Phase.STOPPING and not answer.close else ()
        return ((b"x-request-id", request.id.encode()), *end)

    async def _invocations(self, request: Request, receive: Receive) -> Answer:
        if request.method != "POST":
            raise MethodError("POST")
        model = self._model()
        if request.encoded:
            raise EncodedBodyError
        limits = self._settings
        try:
            async with asyncio.timeout(limits.timeout):
                body = await read_body(request, receive, limit=limits.max_body, silence=limits.read_timeout)
                return Answer(body=await self._predictions.run(partial(predicted, model, body, request.content_type), receive))
        except TimeoutError:
            raise DeadlineError(limits.timeout) from None

    def _model(self) -> "Model":
        if self._lifecycle.model is None:
            raise LoadingError
        return self._lifecycle.model

    def _page(self, request: Request) -> Answer:
        if request.path not in self._pages:
            raise UnknownPathError
        if request.method not in {"GET", "HEAD"}:
            raise MethodError("GET, HEAD")
        return self._pages[request.path]()

    def _index(self) -> Answer:
        routes = {f"GET {path}": path for path in self._pages}
        return document(
            {"name": "model-api-runtime", "version": metadata.version("mlflow-model-api"), "routes": [f"POST {INVOCATIONS}", *routes]}
        )

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


def predicted(model: "Model", body: bytes, content_type: str | None) -> bytes:
    from serving_runtime.invocations import answer  # noqa: PLC0415  pandas is loaded with the model, not before it

    return answer(model, body, content_type)
