"""Refusals as gRPC has them: a status and a sentence, and in the trailing metadata the document that HTTP has."""

from collections.abc import Mapping
from typing import Final

import grpc

from serving_runtime.errors import ServingError
from serving_runtime.http.answer import UNEXPECTED
from serving_runtime.http.errors import HttpError
from serving_runtime.protocols.interface import Refusal
from serving_runtime.protocols.kserve_endpoints import refuse

Metadata = tuple[tuple[str, str | bytes], ...]

# The status for each status of HTTP, with which the runtime's errors are declared.
STATUSES: Final[Mapping[int, grpc.StatusCode]] = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.NOT_FOUND,
    408: grpc.StatusCode.DEADLINE_EXCEEDED,
    409: grpc.StatusCode.ABORTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    500: grpc.StatusCode.INTERNAL,
    501: grpc.StatusCode.UNIMPLEMENTED,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.DEADLINE_EXCEEDED,
}
FIRST_OF_SERVER: Final = 500
# Clients take 8 KiB of metadata, unless they are told otherwise.
LONGEST_SENTENCE: Final = 1000  # characters
LARGEST_DOCUMENT: Final = 4096  # bytes
DOCUMENT: Final = "error-bin"
RETRY: Final = ("grpc-retry-pushback-ms", "1000")


class UnknownMethodError(HttpError):
    status = 501
    error_code = "ENDPOINT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("there is no such method here; reflection lists those that there are")


class TooManyStreamsError(HttpError):
    status = 429
    error_code = "REQUEST_LIMIT_EXCEEDED"
    retry = True

    def __init__(self) -> None:
        super().__init__("too many streams of health and reflection are open; end some of them")


def refusal_of(error: Exception) -> Refusal:
    """Return the refusal that the caller sees; one without details for an unexpected error."""
    if isinstance(error, ServingError):
        return Refusal.of(error)
    if isinstance(error, HttpError):
        return Refusal(status=error.status, error_code=error.error_code, message=error.message)
    return UNEXPECTED


def status_of(refusal: Refusal) -> grpc.StatusCode:
    """Return the status; a model's own error may have any status of HTTP."""
    is_ours = refusal.status >= FIRST_OF_SERVER
    return STATUSES.get(refusal.status, grpc.StatusCode.INTERNAL if is_ours else grpc.StatusCode.INVALID_ARGUMENT)


def sentence_of(refusal: Refusal) -> str:
    return refusal.message[:LONGEST_SENTENCE]


def metadata_of(error: Exception, refusal: Refusal) -> Metadata:
    """Return the document that answers over HTTP, unless it is too large, and when to try again."""
    document = refuse(refusal).body
    found: Metadata = ((DOCUMENT, document),) if len(document) <= LARGEST_DOCUMENT else ()
    return (*found, RETRY) if isinstance(error, HttpError) and error.retry else found
