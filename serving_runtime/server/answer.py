"""HTTP answers, as they are sent."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from serving_runtime.errors import ServingError
from serving_runtime.protocols import exchange
from serving_runtime.protocols.exchange import CLOSE, JSON, Headers, Protocol, Refusal
from serving_runtime.protocols.invocations import INVOCATIONS
from serving_runtime.server.errors import HttpError
from serving_runtime.server.shortcuts import send_whole

Send = Callable[[dict[str, Any]], Awaitable[None]]

RETRY: Final = (b"retry-after", b"1")
# What an unexpected exception says to the client: its text may hold the input, its trace the paths of this machine.
UNEXPECTED: Final = Refusal(status=500, error_code="INTERNAL_ERROR", message="the server failed; its log says why, under this request's id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer; without a `media_type` it is JSON, as every page of MLflow's server is. `close` ends the connection after it."""

    status: int = 200
    body: bytes = b""
    media_type: bytes = JSON
    headers: Headers = ()
    close: bool = False

    async def send(self, send: Send, *, headers: Headers, with_body: bool) -> None:
        """The length is that of the body, sent or not: an answer to HEAD has the headers of the answer to GET."""
        length = (b"content-length", b"%d" % len(self.body))
        own = ((b"content-type", self.media_type), length, *((CLOSE,) if self.close else ()))
        every, body = (*own, *self.headers, *headers), self.body if with_body else b""
        if not send_whole(send, self.status, every, body):
            await send({"type": "http.response.start", "status": self.status, "headers": every})
            await send({"type": "http.response.body", "body": body})


def document(content: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(content))


def sending(answer: exchange.Answer, *, headers: Headers = (), close: bool = False) -> Answer:
    """A protocol's answer."""
    return Answer(status=answer.status, body=answer.body, media_type=answer.media_type, headers=(*answer.headers, *headers), close=close)


def refusal(error: HttpError, protocol: Protocol = INVOCATIONS) -> Answer:
    """In the shape of `protocol`."""
    why = Refusal(status=error.status, error_code=error.error_code, message=error.message)
    return sending(protocol.refuse(why), headers=(*((RETRY,) if error.retry else ()), *error.headers), close=error.close)


def fault(error: ServingError, protocol: Protocol = INVOCATIONS) -> Answer:
    """What the core says about the input or the model."""
    return sending(protocol.refuse(Refusal.of(error)))


def unexpected(protocol: Protocol) -> Answer:
    return sending(protocol.refuse(UNEXPECTED))
