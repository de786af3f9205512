"""The gate's own answers: an error's code, as MLflow's clients know it, and one sentence."""

from http import HTTPStatus


class Refusal(Exception):  # noqa: N818  an answer, not a fault
    """Ends a request; nothing of it is forwarded."""

    status = HTTPStatus.FORBIDDEN
    code = "PERMISSION_DENIED"
    retry_after: int | None = None


class InvalidRequest(Refusal):
    """The request is not one that MLflow and the gate read in the same way."""

    status = HTTPStatus.BAD_REQUEST
    code = "INVALID_PARAMETER_VALUE"


class TooLarge(Refusal):
    """A body above the limit; the connection is closed."""

    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    code = "INVALID_PARAMETER_VALUE"


class Unauthenticated(Refusal):
    """Nobody knows the caller. One text for every reason."""

    status = HTTPStatus.UNAUTHORIZED
    code = "UNAUTHENTICATED"


class Forbidden(Refusal):
    """The caller is known, and may not."""


class NotFound(Refusal):
    """A person asks for what is not there."""

    status = HTTPStatus.NOT_FOUND
    code = "RESOURCE_DOES_NOT_EXIST"


class AlreadyExists(Refusal):
    """With MLflow's own code and status, which its clients wait for."""

    status = HTTPStatus.BAD_REQUEST
    code = "RESOURCE_ALREADY_EXISTS"


class Conflict(Refusal):
    """The registry is in another state than the request needs."""

    status = HTTPStatus.CONFLICT
    code = "RESOURCE_CONFLICT"


class RequestTimeout(Refusal):
    """The client has begun a request and does not go on; the connection is closed."""

    status = HTTPStatus.REQUEST_TIMEOUT
    code = "TEMPORARILY_UNAVAILABLE"


class TooManyRequests(Refusal):
    """A caller has more requests under way than one may have."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "REQUEST_LIMIT_EXCEEDED"
    retry_after = 5


class Busy(Refusal):
    """The gate has as much to do as it can hold."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "TEMPORARILY_UNAVAILABLE"
    retry_after = 5


class TooManyAttempts(Refusal):
    """An address that guesses."""

    status = HTTPStatus.TOO_MANY_REQUESTS
    code = "REQUEST_LIMIT_EXCEEDED"
    retry_after = 60


class Unavailable(Refusal):
    """The gate cannot decide, so it does not let through."""

    status = HTTPStatus.SERVICE_UNAVAILABLE
    code = "TEMPORARILY_UNAVAILABLE"
    retry_after = 5


class Misdirected(Refusal):
    """The request names another host."""

    status = HTTPStatus.MISDIRECTED_REQUEST
    code = "INVALID_PARAMETER_VALUE"


class ClientHungUp(Exception):  # noqa: N818  no fault of the gate's, and not answered
    """The client closed its connection before it had its answer."""


class AnswerCut(Exception):  # noqa: N818  as above
    """MLflow ended an answer in the middle, of which the client has a part."""
