"""HTTP answers. Errors have MLflow's shape: `error_code` and `message`, and the faults of the input where there are some."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from serving_runtime.errors import ServingError
from serving_runtime.server.errors import HttpError

Headers = tuple[tuple[bytes, bytes], ...]
Send = Callable[[dict[str, Any]], Awaitable[None]]

JSON: Final = (b"content-type", b"application/json")
CLOSE: Final = (b"connection", b"close")
RETRY: Final = (b"retry-after", b"1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, of type JSON, as every page of MLflow's server is. `close` ends the connection after it."""

    status: int = 200
    body: bytes = b""
    headers: Headers = ()
    close: bool = False

    async def send(self, send: Send, *, headers: Headers, with_body: bool) -> None:
        """The length is that of the body, sent or not: an answer to HEAD has the headers of the answer to GET."""
        own = (JSON, (b"content-length", b"%d" % len(self.body)), *((CLOSE,) if self.close else ()))
        await send({"type": "http.response.start", "status": self.status, "headers": [*own, *self.headers, *headers]})
        await send({"type": "http.response.body", "body": self.body if with_body else b""})


def document(content: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(content))


def refusal(error: HttpError) -> Answer:
    content = {"error_code": error.error_code, "message": error.message}
    headers = (*((RETRY,) if error.retry else ()), *error.headers)
    return Answer(status=error.status, body=orjson.dumps(content), headers=headers, close=error.close)


def fault(error: ServingError) -> Answer:
    """What the core says about the input or the model."""
    content = {"error_code": error.error_code, "message": error.message} | ({"details": error.details} if error.details else {})
    return Answer(status=error.status, body=orjson.dumps(content))


# What an unexpected exception says to the client: its text may hold the input, its trace the paths of this machine.
UNEXPECTED: Final = document(
    {"error_code": "INTERNAL_ERROR", "message": "the server failed; its log says why, under this request's id"}, status=500
)
