"""The connection to MLflow: the gate's own questions, and requests that pass through it, streamed both ways."""

from collections.abc import Iterable, Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from tracking_gate.errors import AnswerCut, ClientHungUp, Unavailable
from tracking_gate.http.bodies import ClientBody
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
# What MLflow must not hear from a client: who it says that it is, where it says that it comes from, and which rights it
# claims.
WITHHELD: Final = frozenset(
    {
        "host",
        "authorization",
        "forwarded",
        "origin",
        "expect",
        "x-real-ip",
        "x-domino-api-key",
        "x-mlflow-workspace",
        "x-mlflow-assistant-delegation",
    }
)
ADDED: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")  # by the library, where the client has none
TIMEOUT: Final = aiohttp.ClientTimeout(total=None, connect=5, sock_read=300)
QUESTIONS: Final = 100  # connections for the gate's own questions and moves
STREAMS: Final = 256  # connections for what passes through; one caller has --requests-per-caller of them
AT_ONCE: Final = 64 * 1024  # bytes of an answer that is sent in one piece


class Upstream:
    """MLflow, by its URL. Used within `async with`."""

    def __init__(self, url: str, metrics: Metrics, *, withheld: Iterable[str] = ()) -> None:
        """`withheld` are more names of headers that are the gate's alone."""
        self._url = url.rstrip("/")
        self._metrics = metrics
        self._withheld = WITHHELD | HOP_BY_HOP | {name.lower() for name in withheld}

    async def __aenter__(self) -> "Upstream":
        self._questions, self._streams = session_of(QUESTIONS), session_of(STREAMS)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._questions.close()
        await self._streams.close()

    async def ask(self, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body of a request of our own. Raises Unavailable."""
        headers = {"Content-Type": "application/json"} if body is not None else {}
        try:
            with self._metrics.upstream("ask"):
                answer = await self._questions.request(
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

    async def stream(
        self, request: web.BaseRequest, path: str, body: bytes | None = None, *, pause: float
    ) -> web.StreamResponse:
        """Passes a request on as it is, and its answer back; `body` is the request's, if it was read already.

        `pause` is how many seconds may pass without a byte of the client's body. Raises Unavailable and what ClientBody
        raises if nothing of an answer was sent yet, AnswerCut if something was, and ClientHungUp.
        """
        sent = ClientBody(request, pause)
        data = body or None if body is not None else sent.chunks() if request.can_read_body else None
        try:
            with self._metrics.upstream("stream"):
                answer = await self._streams.request(
                    request.method,
                    URL(self._url + path, encoded=True),
                    headers=self._headers(request),
                    data=data,
                    allow_redirects=False,
                    skip_auto_headers=ADDED,
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
            and not name.lower().startswith("x-forwarded-")
        ]
        # Its assistant runs tools for whoever seems to come from this host.
        return CIMultiDict([*kept, ("X-Forwarded-For", request.remote or "unknown"), ("Via", "1.1 mlflow-gate")])

    async def _answer(self, request: web.BaseRequest, answer: aiohttp.ClientResponse) -> web.StreamResponse:
        headers = self._answer_headers(answer.headers)
        length = answer.content_length
        if request.method == "HEAD" or (length is not None and length <= AT_ONCE):
            headers.popall("Content-Length", None) if request.method != "HEAD" else None
            return web.Response(
                status=answer.status, headers=headers, body=await answer.read() if request.method != "HEAD" else None
            )
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


def session_of(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=TIMEOUT,
        auto_decompress=False,
        trust_env=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )
