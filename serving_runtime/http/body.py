"""The body of a request: read and decompressed within limits on size and time."""

import asyncio
import zlib
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any, Final

from serving_runtime.codec.decompressed_size import MOST_GROWTH, decompressed_limit
from serving_runtime.http.errors import (
    BodyTooLargeError,
    BrokenBodyError,
    ClientDisconnectedError,
    DeadlineError,
    DecompressedBodyTooLargeError,
    EncodedBodyError,
    GrowingBodyError,
    SlowBodyError,
    TooManyPartsError,
)
from serving_runtime.http.request_head import RequestHead
from serving_runtime.http.uvicorn_fast_path import received_body

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]

# A client that is still sending does not read the answer "too large", so this much more is read first.
DISCARDED: Final = 64 << 20
# zlib expects a gzip or zlib header, or, as some clients send "deflate", none.
ANY_HEADER: Final = 32 + zlib.MAX_WBITS
NO_HEADER: Final = -zlib.MAX_WBITS
FIRST_PIECE: Final = 512  # bytes
# A compressed body may have FEW_PARTS parts, and one more for each LEAST_PART decompressed bytes: to begin a part takes
# as long as to decompress so many bytes.
FEW_PARTS: Final = 1000
LEAST_PART: Final = 1024  # bytes


async def read_body(request: RequestHead, receive: Receive, *, limit: int, silence: float, deadline: float) -> bytes:
    """Return the whole body. `silence` is the longest pause in seconds; `deadline` is of the loop's clock.

    Raises BodyTooLargeError, SlowBodyError, DeadlineError, ClientDisconnectedError.
    """
    if (whole := received_body(receive)) is not None:
        if len(whole) > limit:
            raise BodyTooLargeError(limit)
        return whole
    content_length = request.content_length or 0
    if content_length > limit and request.expects_continue:
        raise BodyTooLargeError(limit)
    chunks, size, more = [], 0, True
    while more:
        chunk, more = await _next_chunk(receive, silence, deadline)
        size += len(chunk)
        if max(size, content_length) > limit:
            await _discard(receive, size, more, silence, deadline)
            raise BodyTooLargeError(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def disconnected(receive: Receive) -> None:
    """Return once the client has closed the connection."""
    while (await receive())["type"] != "http.disconnect":
        continue


async def _next_chunk(receive: Receive, silence: float, deadline: float) -> tuple[bytes, bool]:
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(min(now + silence, deadline)):
            message = await receive()
    except TimeoutError:
        raise (SlowBodyError if now + silence < deadline else DeadlineError) from None
    if message["type"] == "http.disconnect":
        raise ClientDisconnectedError
    return message.get("body", b""), message.get("more_body", False)


async def _discard(receive: Receive, size: int, more: bool, silence: float, deadline: float) -> None:
    end = size + DISCARDED
    while more and size < end:
        chunk, more = await _next_chunk(receive, silence, deadline)
        size += len(chunk)


def decompressed(body: bytes, encoding: str, *, limit: int) -> bytes:
    """Return the body without its Content-Encoding.

    It never makes more than `limit` bytes, nor more than `decompressed_limit`. Raises EncodedBodyError,
    BrokenBodyError, TooManyPartsError, DecompressedBodyTooLargeError, GrowingBodyError.
    """
    allowed = decompressed_limit(len(body))
    if encoding != "identity" and allowed < limit:
        try:
            return decompressed(body, encoding, limit=allowed)
        except DecompressedBodyTooLargeError:
            raise GrowingBodyError(MOST_GROWTH) from None
    match encoding:
        case "identity":
            return body
        case "gzip" | "x-gzip":
            return _inflated(body, ANY_HEADER, encoding, limit)
        case "deflate":
            header = body[:2]
            has_header = len(header) == 2 and header[0] & 0x0F == 8 and int.from_bytes(header) % 31 == 0  # noqa: PLR2004  RFC 1950, 2.2
            return _inflated(body, ANY_HEADER if has_header else NO_HEADER, encoding, limit)
        case _:
            raise EncodedBodyError


def _inflated(body: bytes, header: int, encoding: str, limit: int) -> bytes:
    """Return the inflated body. A gzip body may have several parts, one after the other; each takes time to begin."""
    chunks: list[bytes] = []
    size = at = parts = 0
    while at < len(body):
        parts += 1
        if parts > FEW_PARTS + size // LEAST_PART:
            raise TooManyPartsError
        inflater = zlib.decompressobj(header)
        for piece in _growing(memoryview(body)[at:]):
            try:
                chunk = inflater.decompress(piece, limit - size + 1)
            except zlib.error:
                raise BrokenBodyError(encoding) from None
            size += len(chunk)
            if size > limit:
                raise DecompressedBodyTooLargeError(limit)
            chunks.append(chunk)
            at += len(piece) - len(inflater.unused_data)
            if inflater.eof:
                break
        else:
            raise BrokenBodyError(encoding)
    return b"".join(chunks)


def _growing(body: memoryview) -> Iterator[memoryview]:
    """Return the body in pieces, each as long as all before it: zlib copies the bytes after the end of a part."""
    start, end = 0, FIRST_PIECE
    while start < len(body):
        yield body[start:end]
        start, end = end, 2 * end
