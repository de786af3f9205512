"""The errors of the lifecycle. Each class has the exit code of a command that ends with it; its numbers are in
`model_contract/exit_codes.py`.

Each message says what is wrong and what to do. `commands/cli_errors.py` prints it.
"""

from pathlib import Path
from types import TracebackType
from typing import ClassVar

from model_contract.exit_codes import ExitCode


class LifecycleError(Exception):
    """A request was not carried out."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED


class InvalidError(LifecycleError):
    """A setting, a file or an answer is not valid."""

    exit_code = ExitCode.INVALID_INPUT


class NotAuthorisedError(LifecycleError):
    """The caller is not known, or does not have the right."""

    exit_code = ExitCode.NOT_AUTHORISED


class NotFoundError(LifecycleError):
    """There is no such model, version, run or file."""

    exit_code = ExitCode.NOT_FOUND


class NoRouteError(LifecycleError):
    """The server has no such path: it is an older MLflow, or another server."""

    exit_code = ExitCode.NOT_FOUND


class PreconditionError(LifecycleError):
    """A model, a Secret or a file is in another state than the step needs."""

    exit_code = ExitCode.PRECONDITION


class PartialError(LifecycleError):
    """A part was done; the message says what is left."""

    exit_code = ExitCode.PARTIAL


class PutBackError(LifecycleError):
    """A change was made, failed, and was undone."""

    exit_code = ExitCode.PUT_BACK


class UnavailableError(LifecycleError):
    """A server does not answer. `retry_after` are the seconds after which it asks for the next try."""

    exit_code = ExitCode.UNAVAILABLE

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class NoSpaceError(LifecycleError):
    """The disk has no room for the model."""

    exit_code = ExitCode.NO_SPACE


class DamagedError(LifecycleError):
    """A file is not what it was recorded to be."""

    exit_code = ExitCode.DAMAGED


class UnclearError(UnavailableError):
    """A change was sent, and no answer says if it was made: the caller reads the state."""


def unexpected(error: Exception) -> str:
    """Return the sentence for an error that is no LifecycleError: its name and place, for a value could be a secret."""
    return (
        f"unexpected {type(error).__name__} at {_last_frame(error.__traceback__)}; it is a fault of this program: "
        "report it"
    )


def _last_frame(trace: TracebackType | None) -> str:
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "an unknown place"
