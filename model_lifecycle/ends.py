"""How a command ends that could not do what it was asked: one sentence, and a code of the table."""

import click

from model_contract.exit_codes import ExitCode


class InvalidInputError(click.ClickException):
    """A file or setting is not what it must be."""

    exit_code = ExitCode.INVALID_INPUT


class RefusedError(click.ClickException):
    """The caller may not, or the token is none."""

    exit_code = ExitCode.NOT_AUTHORISED


class StateError(click.ClickException):
    """Things are in another state than the command needs."""

    exit_code = ExitCode.PRECONDITION


class PartialError(click.ClickException):
    """Done in part; the sentence says what is left."""

    exit_code = ExitCode.PARTIAL


class UnavailableError(click.ClickException):
    """Something that the command needs does not answer."""

    exit_code = ExitCode.UNAVAILABLE
