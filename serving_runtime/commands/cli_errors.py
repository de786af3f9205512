"""How a command ends that could not do what it was asked: one sentence, and a code of the table."""

from typing import ClassVar

from model_contract.exit_codes import ExitCode


class CommandError(Exception):
    """Ends the command."""

    code: ClassVar[ExitCode] = ExitCode.UNEXPECTED


class InputFileError(CommandError):
    """A file, or a row of it, is not what it should be."""

    code = ExitCode.INVALID_INPUT


class MissingFileError(CommandError):
    code = ExitCode.NOT_FOUND


class UnavailableError(CommandError):
    """A server that does not answer."""

    code = ExitCode.UNAVAILABLE
