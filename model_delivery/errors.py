"""Why a model could not be delivered: one class per exit code, and one for what is worth another try."""

from typing import Final

from model_contract.exit_codes import ExitCode
from model_contract.network_causes import Cause


class DeliveryError(Exception):
    """A model was not delivered; the message is one sentence that says why, and what to do where
    something can be done.
    """

    exit_code: ExitCode = ExitCode.UNEXPECTED


class InvalidInputError(DeliveryError):
    """A setting, a file or an answer is not what it must be, and asking again would not change it."""

    exit_code = ExitCode.INVALID_INPUT


class NotAuthorisedError(DeliveryError):
    exit_code = ExitCode.NOT_AUTHORISED


class NotFoundError(DeliveryError):
    exit_code = ExitCode.NOT_FOUND


class PreconditionError(DeliveryError):
    """The model exists, but is not the one that was asked for, or not ready."""

    exit_code = ExitCode.PRECONDITION


class UnavailableError(DeliveryError):
    exit_code = ExitCode.UNAVAILABLE


class NoSpaceError(DeliveryError):
    exit_code = ExitCode.NO_SPACE


class DamagedError(DeliveryError):
    exit_code = ExitCode.DAMAGED


class TransientError(UnavailableError):
    """Worth another try. `retry_after` is what the server asked for, in seconds; `exit_code` is for when no try has
    helped.
    """

    def __init__(self, message: str, *, retry_after: float | None = None, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        if exit_code is not None:
            self.exit_code = exit_code


class InternalServerError(TransientError):
    """Status 500. MLflow 2.22 also means by it that a file is not there."""


class WrongSizeError(TransientError):
    """A file came whole, and has not the size that the listing gave. It may have been written at that moment."""

    exit_code = ExitCode.DAMAGED


FINAL: Final[dict[ExitCode, type[DeliveryError]]] = {
    kind.exit_code: kind
    for kind in (InvalidInputError, NotAuthorisedError, NotFoundError, PreconditionError, UnavailableError)
}


def error_of(what: str, cause: Cause, *, retry_after: float | None = None) -> DeliveryError:
    """Return the error for a cause; `what` is what was asked for."""
    message = f"{what}: {cause.sentence}"
    if cause.passes:
        return TransientError(message, retry_after=retry_after, exit_code=cause.exit_code)
    return FINAL[cause.exit_code](message)
