"""The connection to MLflow, for the gate's own lookups and for requests that are streamed through the gate."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, Self

import aiohttp
from aiohttp import payload, web
from multidict import CIMultiDict
from yarl import URL

from tracking_gate.errors import AnswerCut, ClientHungUp, Unavailable
from tracking_gate.http.bodies import ClientBody
from tracking_gate.http.client_addresses import PROXY_HEADERS, PROXY_SECRET
from tracking_gate.metrics import Metrics

# RFC 9110, 7.6.1: of one connection, not of the request.
HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# Headers that the gate does not forward: a client's identity, origin and rights as the client states them.
WITHHELD: Final = frozenset(
    {
        "host",
        "authorization",
        "forwarded",
        "origin",
        "expect",
        "x-real-ip",
        "x-domino-api-key",
        PROXY_SECRET.lower(),
        "x-mlflow-workspace",
        "x-mlflow-assistant-delegation",
    }
)
AUTOMATIC_HEADERS: Final = (
    "Accept",
    "Accept-Encoding",
    "Content-Type",
    "User-Agent",
)  # aiohttp adds these if the client sends none
TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=300)
LOOKUPS: Final = 100  # connections for the gate's own lookups and guarded operations
STREAMS: Final = 256  # connections for streamed requests; one caller has --requests-per-caller of them
# The side that sends the next request must close first: gunicorn closes an idle connection after 2 s, uvicorn after 5.
IDLE_SECONDS: Final = 1.0
MAX_UNSTREAMED: Final = 64 * 1024  # bytes of an answer that is sent in one piece
Body = bytes | payload.Payload


class Upstream:
    """MLflow, by its URL; an asynchronous context manager."""

    def __init__(
        self,
        url: str,
        metrics: Metrics,
        *,
        withheld: Iterable[str] = (),
        timeout: aiohttp.ClientTimeout = TIMEOUT,
    ) -> None:
        """`withheld` are names of more headers that are not forwarded."""
        self._url = url.rstrip("/")
        self._timeout = timeout
        self._metrics = metrics
        self._withheld = WITHHELD | HOP_BY_HOP | {name.lower() for name in withheld}

    async def __aenter__(self) -> Self:
        self._lookups = new_session(LOOKUPS, self._timeout)
        self._streams = new_session(STREAMS, self._timeout)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._lookups.close()
        await self._streams.close()

    async def ask(self, method: str, path: str, body: Body | None) -> tuple[int, bytes]:
        """Send a request of the gate's own, and return status and body of the answer. Raises Unavailable."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            with self._metrics.upstream("ask"):
                answer = await self._lookups.request(
                    method,
                    URL(self._url + path, encoded=True),
                    data=body,
                    headers=headers,
                    allow_redirects=False,
                    skip_auto_headers=("Accept-Encoding",),
                )
            async with answer:
                return answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable("MLflow does not answer") from error

    async def change(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Send a change, as `ask` sends a lookup."""
        return await self.ask(method, path, body)

    async def stream(
        self,
        request: web.BaseRequest,
        path: str,
        body: Body | None = None,
        *,
        pause: float,
        before_end: Callable[[], None] | None = None,
    ) -> web.StreamResponse:
        """Forward a request, and return MLflow's answer; `body` is the one to send if the request's was read already.

        `pause` and `before_end` are those of ClientBody. Raises Unavailable or an error of ClientBody if no part of an
        answer was sent, AnswerCut if a part was sent, ClientHungUp in both cases.
        """
        sent = ClientBody(request, pause, before_end)
        is_streamed = body is None and request.can_read_body
        if is_streamed:  # MLflow closes an idle connection after some seconds, also one that waits for a client's body
            await sent.begin()
        data = sent.chunks() if is_streamed else body or None
        headers = self._headers(request)
        if body is not None:
            headers.popall("Content-Length", None)  # aiohttp writes that of `body`
        try:
            with self._metrics.upstream("stream"):
                answer = await self._streams.request(
                    request.method,
                    URL(self._url + path, encoded=True),
                    headers=headers,
                    data=data,
                    allow_redirects=False,
                    skip_auto_headers=AUTOMATIC_HEADERS,
                )
            async with answer:
                return await self._answer(request, answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise (sent.fault or Unavailable("MLflow does not answer")) from error

    def _headers(self, request: web.BaseRequest) -> CIMultiDict[str]:
        named = {name.strip().lower() for name in request.headers.get("Connection", "").split(",")}
        kept = [
            (name, value)
            for name, value in request.headers.items()
            if name.lower() not in self._withheld
            and name.lower() not in named
            and not name.lower().startswith(PROXY_HEADERS)
            and "_" not in name  # WSGI does not tell X_Forwarded_User from X-Forwarded-User
        ]
        # MLflow's assistant runs tools for a client that seems to come from the same host.
        return CIMultiDict([*kept, ("X-Forwarded-For", request.remote or "unknown"), ("Via", "1.1 mlflow-gate")])

    async def _answer(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = self._answer_headers(answer.headers)
        length = answer.content_length
        if request.method == "HEAD":
            return web.Response(status=answer.status, headers=headers)
        if length is not None and length <= MAX_UNSTREAMED:
            headers.popall("Content-Length", None)
            return web.Response(status=answer.status, headers=headers, body=await answer.read())
        response = web.StreamResponse(status=answer.status, headers=headers)
        try:
            await response.prepare(request)
        except ConnectionError as error:
            raise ClientHungUp from error
        while True:
            try:
                piece = await answer.content.readany()
            except (aiohttp.ClientError, TimeoutError) as error:
                raise AnswerCut from error
            try:
                await (response.write(piece) if piece else response.write_eof())
            except ConnectionError as error:
                raise ClientHungUp from error
            if not piece:
                return response

    def _answer_headers(self, headers: Mapping[str, str]) -> CIMultiDict[str]:
        kept = CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in HOP_BY_HOP)
        if location := kept.get("Location", ""):
            kept["Location"] = location.removeprefix(self._url)
        return kept


def new_session(connections: int, timeout: aiohttp.ClientTimeout) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=IDLE_SECONDS),
        timeout=timeout,
        auto_decompress=False,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
