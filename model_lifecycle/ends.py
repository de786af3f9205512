"""How a command ends that could not do what it was asked: one sentence, and a code of the table."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from model_contract.exit_codes import ExitCode
from model_lifecycle import report
from model_lifecycle.errors import LifecycleError


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


@contextmanager
def ends(form: str = "text") -> Iterator[None]:
    """A command's block, which a LifecycleError ends with its sentence and its code; GitHub shows the sentence on the
    job's page too.
    """
    try:
        yield
    except LifecycleError as error:
        if form == "github":
            report.failed(str(error))
        else:
            click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
