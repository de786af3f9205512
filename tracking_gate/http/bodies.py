"""Bodies of requests: read whole within a bound, or passed on piece by piece, as long as they go on."""

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from tracking_gate.errors import ClientHungUp, InvalidRequest, Refusal, RequestTimeout, TooLarge

SLOWEST: Final = 64 * 1024  # bytes per second of a body that is read whole, after the time that it may pause
CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
TOO_SLOW: Final = "the body of the request does not come"


class ClientBody:
    """The body of one request. `fault` is why it ended early, if it did: the client library tells its caller another
    reason.
    """

    def __init__(self, request: web.BaseRequest, pause: float) -> None:
        """`pause` is how many seconds may pass without a byte."""
        self._request = request
        self._pause = pause
        self.fault: Refusal | ClientHungUp | None = None

    async def whole(self, most: int) -> bytes:
        """Raises TooLarge as soon as there is too much, RequestTimeout, InvalidRequest, ClientHungUp."""
        check_length(self._request, most)
        body = bytearray()
        try:
            async with asyncio.timeout(self._pause + most / SLOWEST):
                async for chunk in self.chunks():
                    body += chunk
                    if len(body) > most:
                        raise TooLarge(f"the body has more than {most} bytes")
        except TimeoutError:
            raise RequestTimeout(TOO_SLOW) from None
        return bytes(body)

    async def chunks(self) -> AsyncIterator[bytes]:
        """Raises RequestTimeout, InvalidRequest, ClientHungUp."""
        try:
            await self._invite()
            while chunk := await self._next():
                yield chunk
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
            raise InvalidRequest("the body of the request is not framed as HTTP has it") from None
        except ConnectionError as error:
            raise ClientHungUp from error

    async def _invite(self) -> None:
        """A client that asks before it sends a large body waits for this."""
        request = self._request
        if request.headers.get("Expect", "").lower() == "100-continue" and request.version >= (1, 1):
            try:
                await request.writer.write(CONTINUE)
            except ConnectionError as error:
                raise ClientHungUp from error
            request.writer.output_size = 0  # nothing of the answer was sent


def check_length(request: web.BaseRequest, most: int) -> None:
    """Raises TooLarge."""
    if (request.content_length or 0) > most:
        raise TooLarge(f"the body has more than {most} bytes")


def check_empty(request: web.BaseRequest) -> None:
    """MLflow would read the fields of a GET from its body."""
    if request.can_read_body:
        raise InvalidRequest("a GET has no body here")
