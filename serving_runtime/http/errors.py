"""Errors of HTTP requests that never reach the model, or that get no prediction in time."""

from typing import ClassVar


class HttpError(Exception):
    """An error with the status and the error code of its answer.

    `retry` asks the client to send the request again, `close` ends the connection.
    """

    status: ClassVar[int] = 400
    error_code: ClassVar[str] = "BAD_REQUEST"  # also for errors without a name in MLflow; see status
    retry: ClassVar[bool] = False
    close: ClassVar[bool] = False

    @property
    def message(self) -> str:
        return str(self)

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        """Additional headers of the answer."""
        return ()


class NotHttpError(HttpError):
    close = True

    def __init__(self, *, after_request: bool = False) -> None:
        advice = (
            "; if it follows a body, the Content-Length of that is too small: it counts bytes" if after_request else ""
        )
        super().__init__(f"this is not HTTP/1.1{advice}")


class UnauthorizedError(HttpError):
    status = 401
    error_code = "UNAUTHENTICATED"

    def __init__(self) -> None:
        super().__init__('this needs a token of this server, in the header "Authorization: Bearer <token>"')

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"www-authenticate", b"Bearer"),)


class UnknownPathError(HttpError):
    status = 404
    error_code = "ENDPOINT_NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("there is nothing at this path; GET / lists what there is")


class MethodError(HttpError):
    status = 405

    def __init__(self, allowed: str) -> None:
        self.allowed = allowed
        super().__init__(f"this path answers to {allowed}")

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"allow", self.allowed.encode()),)


class SlowHeadError(HttpError):
    status = 408
    close = True

    def __init__(self) -> None:
        super().__init__("the head of the request did not come in time")


class SlowBodyError(HttpError):
    status = 408
    close = True

    def __init__(self) -> None:
        super().__init__("the body of the request did not come in time")


class BodyTooLargeError(HttpError):
    status = 413
    close = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body of the request is larger than {limit} bytes; send fewer rows at a time")


class TooManyRowsError(HttpError):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request has more than {limit} rows; send fewer at a time")


class DecompressedBodyTooLargeError(HttpError):
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"the body of the request is larger than {limit} bytes once it is decompressed; send fewer rows at a time"
        )


class GrowingBodyError(HttpError):
    status = 413

    def __init__(self, times: int) -> None:
        super().__init__(
            f"the body of the request is more than {times} times as large once decompressed; send it uncompressed"
        )


class EncodedBodyError(HttpError):
    status = 415

    def __init__(self) -> None:
        super().__init__(
            "the body of the request has a Content-Encoding that is not supported; send gzip, deflate, or none"
        )

    @property
    def headers(self) -> tuple[tuple[bytes, bytes], ...]:
        return ((b"accept-encoding", b"gzip, deflate"),)


class BrokenBodyError(HttpError):
    def __init__(self, encoding: str) -> None:
        super().__init__(f"the body of the request is not what its Content-Encoding says: {encoding}")


class TooManyPartsError(HttpError):
    status = 413

    def __init__(self) -> None:
        super().__init__("the body of the request is compressed in too many parts for its length; compress it as one")


class InvalidTimeoutError(HttpError):
    def __init__(self, name: str) -> None:
        super().__init__(f"the header {name} must be a whole number of milliseconds from 1")


class QueueFullError(HttpError):
    status = 429
    error_code = "REQUEST_LIMIT_EXCEEDED"
    retry = True

    def __init__(self) -> None:
        super().__init__("too many requests are waiting for the model; send this one again later")


class HeadTooLargeError(HttpError):
    status = 431
    close = True

    def __init__(self, limit: int) -> None:
        super().__init__(f"the head of the request is larger than {limit} bytes")


class UnavailableError(HttpError):
    status = 503
    error_code = "TEMPORARILY_UNAVAILABLE"
    retry = True


class LoadingError(UnavailableError):
    def __init__(self) -> None:
        super().__init__("the model is not loaded yet; GET /readyz says when it is")


class StoppingError(UnavailableError):
    def __init__(self) -> None:
        super().__init__("the server is about to stop; send the request to another one")


class DeadlineError(HttpError):
    status = 504
    error_code = "DEADLINE_EXCEEDED"

    def __init__(self) -> None:
        super().__init__("there was no prediction in the time that the request may take")


class ClientDisconnectedError(Exception):
    """The client closed the connection before there was an answer."""
