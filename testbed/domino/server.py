"""The installation's HTTP server: checks the caller, applies faults, and calls the handler of the route."""

import base64
import hmac
import http.client
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from testbed.domino.faults import Faults
from testbed.domino.platform import Platform
from testbed.domino.records import RUNNING, ModelApi, UnknownError
from testbed.domino.routing import Answer, RefusedError, Request, Route

JSON: Final = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """The service of the installation and of its sidecar."""

    platform: Platform
    routes: Sequence[Route]
    open_routes: Sequence[Route]  # model APIs check their callers themselves
    api_key: str
    faults: Faults
    seen: list[Seen]

    def answer(self, request: Request, *, trusted: bool) -> Answer | None:
        """Return the answer, or None if the request was done and the connection ends without one."""
        self.seen.append(Seen(method=request.method, path=request.path, headers=request.headers))
        fault = self.faults.take(request.method, request.path)
        if fault and fault.status is not None:
            return Answer(status=fault.status, body=fault.body.encode(), content_type="text/html")
        done = self._routed(request, trusted)
        return None if fault else done

    def _routed(self, request: Request, trusted: bool) -> Answer:
        try:
            for route in (*self.open_routes, *self.routes):
                if (variables := route.match(request.method, request.path)) is not None:
                    if not trusted and route not in self.open_routes:
                        self._check(request.headers)
                    return route.handler(self.platform, replace(request, variables=variables))
        except RefusedError as error:
            return refusal(error.status, str(error))
        except UnknownError as error:
            return refusal(404, f"{error} does not exist")
        return refusal(404, "Not Found")

    def _check(self, headers: Mapping[str, str]) -> None:
        shown = headers.get("x-domino-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(shown.encode(), self.api_key.encode()):
            raise RefusedError(401, "Your API key is not valid")


def refusal(status: int, message: str) -> Answer:
    return Answer.of({"requestId": "local", "errors": [message], "message": message}, status)


def call(platform: Platform, request: Request) -> Answer:
    model = platform.live(request.variables["id"])
    check_token(model, request)
    pod = platform.pods.running().get(model.active.id)
    if pod is None or model.active.status != RUNNING:
        raise RefusedError(503, "the model API has no running version")
    with closing(http.client.HTTPConnection("127.0.0.1", pod.port, timeout=60)) as connection:
        connection.request("POST", "/model", request.body, JSON)
        answer = connection.getresponse()
        return Answer(status=answer.status, body=answer.read())


def check_token(model: ModelApi, request: Request) -> None:
    """Raise RefusedError if a caller of a restricted model API does not send its token as user and as password."""
    shown = base64.b64encode(f"{model.access_token}:{model.access_token}".encode()).decode()
    if model.access_token and request.headers.get("authorization") != f"Basic {shown}":
        raise RefusedError(401, "Unauthorized")


CALL_ROUTES: Final = (
    Route("POST", "/models/<id>/latest/model", call),
    Route("POST", "/models/<id>/labels/prod/model", call),
)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or an answer of two writes waits 40 ms in between
    server: "Server"

    def handle_any(self) -> None:
        target = urlsplit(self.path)
        request = Request(
            method=self.command,
            path=target.path,
            query={key: values[0] for key, values in parse_qs(target.query).items()},
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self.rfile.read(int(self.headers.get("Content-Length", 0))),
        )
        answer = self.server.answer(request)
        if answer is None:
            self.close_connection = True
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any  # noqa: N815  names of the base class

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing: `seen` holds the requests."""


class Server(ThreadingHTTPServer):
    """Server of the installation, or with `trusted` the sidecar of a workspace.

    The sidecar adds the user by itself, and gives tokens at `/access-token`.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, service: Service, *, port: int = 0, trusted: bool = False) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self._service = service
        self._trusted = trusted
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def answer(self, request: Request) -> Answer | None:
        if self._trusted and request.path == "/access-token":
            return Answer(status=200, body=self._service.api_key.encode(), content_type="text/plain")
        return self._service.answer(request, trusted=self._trusted)

    def end(self) -> None:
        self.shutdown()
        self.server_close()
        self._thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that goes away in the middle, as some tests do."""
