"""Errors that the gate answers itself, each with its HTTP status, MLflow's error code and what the client may do next.

The name of a class is the label `reason` of the metric `refusals`: `too_large` for TooLarge.
"""

from http import HTTPStatus
from typing import Any


class Refusal(Exception):  # noqa: N818  an answer, not a fault
    """An answer of the gate's own; nothing of the request is forwarded.

    `code` is the error code that MLflow's clients know, `retry_after` is in seconds, and `closes` ends the connection.
    """

    status = HTTPStatus.FORBIDDEN
    code = "PERMISSION_DENIED"
    retry_after: int | None = None
    closes = False

    def __init_subclass__(
        cls, *, status: HTTPStatus, code: str, retry_after: int | None = None, closes: bool = False, **options: Any
    ) -> None:
        super().__init_subclass__(**options)
        cls.status, cls.code, cls.retry_after, cls.closes = status, code, retry_after, closes


class InvalidRequest(Refusal, status=HTTPStatus.BAD_REQUEST, code="INVALID_PARAMETER_VALUE", closes=True):
    """MLflow and the gate could read the request in two ways."""


class TooLarge(Refusal, status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE, code="INVALID_PARAMETER_VALUE", closes=True):
    """The body is above the limit."""


class Unauthenticated(Refusal, status=HTTPStatus.UNAUTHORIZED, code="UNAUTHENTICATED"):
    """The caller is unknown; the text is the same for every reason."""


class Forbidden(Refusal, status=HTTPStatus.FORBIDDEN, code="PERMISSION_DENIED"):
    """The caller is known and may not make this request."""


class NotFound(Refusal, status=HTTPStatus.NOT_FOUND, code="RESOURCE_DOES_NOT_EXIST"):
    """A person's request names an object that does not exist."""


class AlreadyExists(Refusal, status=HTTPStatus.BAD_REQUEST, code="RESOURCE_ALREADY_EXISTS"):
    """The new object exists; status and code are MLflow's own, which MLflow's clients expect."""


class Conflict(Refusal, status=HTTPStatus.CONFLICT, code="RESOURCE_CONFLICT"):
    """The registry is in another state than the request needs."""


class RequestTimeout(Refusal, status=HTTPStatus.REQUEST_TIMEOUT, code="TEMPORARILY_UNAVAILABLE", closes=True):
    """The client has begun a request and does not go on."""


class TooManyRequests(Refusal, status=HTTPStatus.TOO_MANY_REQUESTS, code="REQUEST_LIMIT_EXCEEDED", retry_after=5):
    """A caller has more requests under way than the limit."""


class Busy(Refusal, status=HTTPStatus.SERVICE_UNAVAILABLE, code="TEMPORARILY_UNAVAILABLE", retry_after=5):
    """The gate is at a limit of its own."""


class TooManyAttempts(
    Refusal, status=HTTPStatus.TOO_MANY_REQUESTS, code="REQUEST_LIMIT_EXCEEDED", retry_after=60, closes=True
):
    """An address or a name has failed to authenticate too often."""


class Unavailable(Refusal, status=HTTPStatus.SERVICE_UNAVAILABLE, code="TEMPORARILY_UNAVAILABLE", retry_after=5):
    """The gate cannot decide, so it does not forward."""


class NoLeader(Refusal, status=HTTPStatus.SERVICE_UNAVAILABLE, code="TEMPORARILY_UNAVAILABLE", retry_after=5):
    """No replica makes changes at the moment; nothing of the change was sent to MLflow."""


class Misdirected(Refusal, status=HTTPStatus.MISDIRECTED_REQUEST, code="INVALID_PARAMETER_VALUE"):
    """The request names another host."""


class ClientHungUp(Exception):  # noqa: N818  no fault of the gate's, and not answered
    """The client closed its connection before it had its answer."""


class AnswerCut(Exception):  # noqa: N818  as above
    """MLflow ended an answer in the middle, after the client had a part of it."""
