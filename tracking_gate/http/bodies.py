"""Bodies of requests: read whole up to a limit, or streamed, with a limit on pauses."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tracking_gate.errors import ClientHungUp, InvalidRequest, Refusal, RequestTimeout, TooLarge

MIN_RATE: Final = 64 * 1024  # bytes per second of a body that is read whole, after the time that it may pause
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_SLOW: Final = "the body of the request does not arrive"


class ClientBody:
    """The body of one request; `fault` is the error that ended it early, which aiohttp's client hides."""

    def __init__(self, request: web.BaseRequest, pause: float, before_end: Callable[[], None] | None = None) -> None:
        """`pause` is the number of seconds that may pass without a byte.

        `before_end` is called before `chunks` yields the last bytes. Its Refusal leaves the body unfinished.
        """
        self._request = request
        self._pause = pause
        self._before_end = before_end
        self._first: bytes | None = None
        self.fault: Refusal | ClientHungUp | None = None

    async def whole(self, limit: int) -> bytes:
        """Return the body. Raises TooLarge above `limit` bytes, RequestTimeout, InvalidRequest, ClientHungUp."""
        check_length(self._request, limit)
        body = bytearray()
        try:
            async with asyncio.timeout(self._pause + limit / MIN_RATE):
                async for chunk in self.chunks():
                    body += chunk
                    if len(body) > limit:
                        raise TooLarge(f"the body has more than {limit} bytes")
        except TimeoutError:
            raise RequestTimeout(TOO_SLOW) from None
        return bytes(body)

    async def begin(self) -> None:
        """Wait for the first piece, which `chunks` yields. Raises as `chunks` does."""
        await self._send_continue()
        self._first = await self._next()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the pieces of the body. Raises RequestTimeout, InvalidRequest, ClientHungUp, or as `before_end`."""
        try:
            if self._first is None:
                await self.begin()
            chunk, size = self._first, 0
            while chunk:
                size += len(chunk)
                if self._before_end and size == self._request.content_length:
                    self._before_end()
                yield chunk
                chunk = await self._next()
            if self._before_end and self._request.content_length is None:  # the end of chunks is a mark of its own
                self._before_end()
        except (Refusal, ClientHungUp) as fault:
            self.fault = fault
            raise

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._pause):
                return await self._request.content.readany()
        except TimeoutError:
            raise RequestTimeout(TOO_SLOW) from None
        except (web.RequestPayloadError, HttpProcessingError):
            raise InvalidRequest("the body of the request is not framed as HTTP requires") from None
        except ConnectionError as error:
            raise ClientHungUp from error

    async def _send_continue(self) -> None:
        """Answer `100 Continue` to a client that waits for it before it sends its body."""
        request = self._request
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
            try:
                await request.writer.write(CONTINUE)
            except ConnectionError as error:
                raise ClientHungUp from error
            request.writer.output_size = 0  # nothing of the answer was sent


def check_length(request: web.BaseRequest, limit: int) -> None:
    """Raise TooLarge if the request announces more than `limit` bytes."""
    if (request.content_length or 0) > limit:
        raise TooLarge(f"the body has more than {limit} bytes")


def check_transfer_coding(request: web.BaseRequest) -> None:
    """Raise InvalidRequest for a coding besides chunked, such as gzip: MLflow would get the coded bytes as the body."""
    listed = ",".join(request.headers.getall("Transfer-Encoding", [])).lower().split(",")
    if {name.strip() for name in listed} - {"", "chunked"}:
        raise InvalidRequest("send the body with Transfer-Encoding: chunked, and no other coding")


def check_empty(request: web.BaseRequest) -> None:
    """Raise InvalidRequest if a GET has a body, from which MLflow would read fields."""
    if request.can_read_body:
        raise InvalidRequest("send a GET without a body")
