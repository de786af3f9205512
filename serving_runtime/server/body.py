"""Reads the body of a request: not more than a limit, and not for longer than a client with something to say needs."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from serving_runtime.server.errors import BodyTooLargeError, ClientGoneError, SlowBodyError
from serving_runtime.server.request import Request

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# A client that is still sending does not read the answer that says "too large"; so much more is taken from it first.
DISCARDED: Final = 64 << 20


async def read_body(request: Request, receive: Receive, *, limit: int, silence: float) -> bytes:
    """The whole body. `silence` is the longest pause in seconds.

    Raises BodyTooLargeError, SlowBodyError, ClientGoneError.
    """
    announced = request.announced or 0
    if announced > limit and request.expects_permission:
        raise BodyTooLargeError(limit)
    chunks, size, more = [], 0, True
    while more:
        chunk, more = await _next_chunk(receive, silence)
        size += len(chunk)
        if max(size, announced) > limit:
            await _discard(receive, size, more, silence)
            raise BodyTooLargeError(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def _next_chunk(receive: Receive, silence: float) -> tuple[bytes, bool]:
    try:
        async with asyncio.timeout(silence):
            message = await receive()
    except TimeoutError:
        raise SlowBodyError from None
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    return message.get("body", b""), message.get("more_body", False)


async def _discard(receive: Receive, size: int, more: bool, silence: float) -> None:
    end = size + DISCARDED
    while more and size < end:
        chunk, more = await _next_chunk(receive, silence)
        size += len(chunk)
