"""Why a model could not be delivered: one class per exit code, and one for what is worth another try."""

from typing import ClassVar

from model_contract.exit_codes import ExitCode


class DeliveryError(Exception):
    """A model was not delivered; the message is one sentence that says why, and what to do where something can be done."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED


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
    """Worth another try. `retry_after` is what the server asked for, in seconds."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InternalServerError(TransientError):
    """Status 500. MLflow 2.22 also means by it that a file is not there."""


class WrongSizeError(TransientError):
    """A file came whole, and has not the size that the listing gave. It may have been written at that moment."""

    exit_code = ExitCode.DAMAGED
