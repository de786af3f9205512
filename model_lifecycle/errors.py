"""Why a version was not moved: one class per exit code. Each message is one sentence that says what to do."""

from typing import ClassVar

from model_contract.exit_codes import ExitCode


class LifecycleError(Exception):
    """What was asked for was not done."""

    exit_code: ClassVar[ExitCode] = ExitCode.UNEXPECTED


class InvalidError(LifecycleError):
    """A setting, a file or an answer is not what it must be."""

    exit_code = ExitCode.INVALID_INPUT


class NotAuthorisedError(LifecycleError):
    """The caller is not known, or may not do this."""

    exit_code = ExitCode.NOT_AUTHORISED


class NotFoundError(LifecycleError):
    """There is no such model, version, run or file."""

    exit_code = ExitCode.NOT_FOUND


class PreconditionError(LifecycleError):
    """Things are in another state than the step needs."""

    exit_code = ExitCode.PRECONDITION


class UnavailableError(LifecycleError):
    """Somebody who is asked does not answer."""

    exit_code = ExitCode.UNAVAILABLE


class UnclearError(UnavailableError):
    """A change was sent, and whether it was made is not known: whoever sent it has to look."""
