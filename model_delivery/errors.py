"""Errors of the delivery: one class for each exit code, and one for errors that are retried."""

from typing import Final

from model_contract.exit_codes import ExitCode
from model_contract.network_causes import Cause


class DeliveryError(Exception):
    """A model was not delivered. The message is one sentence with the reason, and what to do about it."""

    exit_code: ExitCode = ExitCode.UNEXPECTED


class InvalidInputError(DeliveryError):
    """A setting, a file or an answer is not as it must be; another try would not change it."""

    exit_code = ExitCode.INVALID_INPUT


class PresignedOnlyError(InvalidInputError):
    """MLflow gives its files by presigned URLs only."""


class NotAuthorisedError(DeliveryError):
    """MLflow or a proxy does not accept the caller."""

    exit_code = ExitCode.NOT_AUTHORISED


class NotFoundError(DeliveryError):
    """The model, the version or one of its files does not exist."""

    exit_code = ExitCode.NOT_FOUND


class PreconditionError(DeliveryError):
    """The model exists, but is another one than wanted, or is not ready."""

    exit_code = ExitCode.PRECONDITION


class ChangedError(PreconditionError):
    """A file was changed between its listing and its reading."""


class UnavailableError(DeliveryError):
    """MLflow does not answer, or the deadline has passed."""

    exit_code = ExitCode.UNAVAILABLE


class NoSpaceError(DeliveryError):
    """The model is larger than allowed, or the disk is full."""

    exit_code = ExitCode.NO_SPACE


class DamagedError(DeliveryError):
    """A file differs from its listing or from the manifest, after all tries."""

    exit_code = ExitCode.DAMAGED


class PartError(DeliveryError):
    """A part of a command failed, such as a step of a sync; `exit_code` is that of the whole run."""

    def __init__(self, message: str, exit_code: ExitCode) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class TransientError(UnavailableError):
    """A retry may succeed. `retry_after` is the wait that the server asks for; `exit_code` is that of the last try."""

    def __init__(self, message: str, *, retry_after: float | None = None, exit_code: ExitCode | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        if exit_code is not None:
            self.exit_code = exit_code


class InternalServerError(TransientError):
    """Status 500, which MLflow 2.22 also answers for a file that does not exist."""


class WrongSizeError(TransientError):
    """A complete file has another size than listed. It may have been written at that moment."""

    exit_code = ExitCode.DAMAGED


BY_EXIT_CODE: Final[dict[ExitCode, type[DeliveryError]]] = {
    kind.exit_code: kind
    for kind in (InvalidInputError, NotAuthorisedError, NotFoundError, PreconditionError, UnavailableError)
}


def error_of(what: str, cause: Cause, *, retry_after: float | None = None) -> DeliveryError:
    """Return the error for a cause; `what` names what was requested."""
    message = f"{what}: {cause.sentence}"
    if cause.temporary:
        return TransientError(message, retry_after=retry_after, exit_code=cause.exit_code)
    return BY_EXIT_CODE[cause.exit_code](message)
