"""How a command ends that could not do what it was asked: one sentence, and a code of the table."""

import click

from model_contract.exit_codes import ExitCode


class InvalidInputError(click.ClickException):
    """Ends the command with one sentence."""

    exit_code = ExitCode.INVALID_INPUT


class RefusedError(click.ClickException):
    """As above, for a cluster that does not let the caller do it."""

    exit_code = ExitCode.NOT_AUTHORISED


class NotFoundError(click.ClickException):
    """As above, for an installation that is not there."""

    exit_code = ExitCode.NOT_FOUND


class UnavailableError(click.ClickException):
    """As above, for a cluster that does not answer."""

    exit_code = ExitCode.UNAVAILABLE
