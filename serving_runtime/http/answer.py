"""Answers of the server itself, and errors as answers in the shape of a protocol."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from serving_runtime.errors import ServingError
from serving_runtime.http.errors import HttpError
from serving_runtime.protocols.interface import Answer, Protocol, Refusal
from serving_runtime.protocols.mlflow.protocol import INVOCATIONS

Send = Callable[[dict[str, Any]], Awaitable[None]]

RETRY: Final = (b"retry-after", b"1")
# The text of an unexpected exception may hold the input, and its trace the paths of this machine.
UNEXPECTED: Final = Refusal(
    status=500, error_code="INTERNAL_ERROR", message="the server failed; its log says why, under this request's id"
)


def json_answer(content: Mapping[str, Any], *, status: int = 200) -> Answer:
    return Answer(status=status, body=orjson.dumps(content))


def http_error_answer(error: HttpError, protocol: Protocol = INVOCATIONS) -> Answer:
    """Return the answer to a request that `error` ended, in the shape of `protocol`."""
    answer = protocol.refuse(Refusal(status=error.status, error_code=error.error_code, message=error.message))
    return replace(
        answer, headers=(*answer.headers, *((RETRY,) if error.retry else ()), *error.headers), close=error.close
    )


def serving_error_answer(error: ServingError, protocol: Protocol) -> Answer:
    """Return the answer to an input, or of a model, that is at fault."""
    return protocol.refuse(Refusal.of(error))


def unexpected_error_answer(protocol: Protocol) -> Answer:
    return protocol.refuse(UNEXPECTED)
