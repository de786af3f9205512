"""HTTP answers, as they are sent."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from serving_runtime.errors import ServingError
from serving_runtime.http.errors import HttpError
from serving_runtime.http.uvicorn_fast_path import send_whole
from serving_runtime.protocols.interface import CLOSE, Answer, Headers, Protocol, Refusal
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS

Send = Callable[[dict[str, Any]], Awaitable[None]]

RETRY: Final = (b"retry-after", b"1")
# What an unexpected exception says to the client: its text may hold the input, its trace the paths of this machine.
UNEXPECTED: Final = Refusal(
    status=500, error_code="INTERNAL_ERROR", message="the server failed; its log says why, under this request's id"
)


async def send_answer(answer: Answer, send: Send, *, headers: Headers, with_body: bool) -> None:
    """The length is that of the body, sent or not: an answer to HEAD has the headers of the answer to GET."""
    own = (
        (b"content-type", answer.media_type),
        (b"content-length", b"%d" % len(answer.body)),
        *((CLOSE,) if answer.close else ()),
    )
    every, body = (*own, *answer.headers, *headers), answer.body if with_body else b""
    if not send_whole(send, answer.status, every, body):
        await send({"type": "http.response.start", "status": answer.status, "headers": every})
        await send({"type": "http.response.body", "body": body})


def document(content: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(content))


def refusal(error: HttpError, protocol: Protocol = INVOCATIONS) -> Answer:
    """In the shape of `protocol`."""
    answer = protocol.refuse(Refusal(status=error.status, error_code=error.error_code, message=error.message))
    return replace(
        answer, headers=(*answer.headers, *((RETRY,) if error.retry else ()), *error.headers), close=error.close
    )


def fault(error: ServingError, protocol: Protocol = INVOCATIONS) -> Answer:
    """What the core says about the input or the model."""
    return protocol.refuse(Refusal.of(error))


def unexpected(protocol: Protocol) -> Answer:
    return protocol.refuse(UNEXPECTED)
