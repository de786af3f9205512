"""Errors that end a command, each with one sentence and an exit code of the table."""

from model_contract.exit_codes import ExitCode


class CommandError(Exception):
    """Ends the command."""

    code: ExitCode = ExitCode.UNEXPECTED


class InputFileError(CommandError):
    """A file, or a row of it, cannot be read as the command needs it."""

    code = ExitCode.INVALID_INPUT


class OptionError(CommandError):
    """Another option is needed for what the command found."""

    code = ExitCode.USAGE


class MissingFileError(CommandError):
    code = ExitCode.NOT_FOUND


class NoSpaceError(CommandError):
    """A disk is full."""

    code = ExitCode.NO_SPACE


class UnavailableError(CommandError):
    """A server or a store does not answer."""

    code = ExitCode.UNAVAILABLE
