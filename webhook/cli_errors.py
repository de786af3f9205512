"""Errors that end a command with one sentence and an exit code."""

import click

from model_contract.exit_codes import ExitCode


class InvalidInputError(click.ClickException):
    """A file, a setting or an option cannot be used."""

    exit_code = ExitCode.INVALID_INPUT


class DocumentError(InvalidInputError):
    """A file cannot be read as Kubernetes objects or as settings; the message names the file and the line."""


class NotAuthorisedError(click.ClickException):
    """The cluster does not let the caller do what the command needs."""

    exit_code = ExitCode.NOT_AUTHORISED


class NotFoundError(click.ClickException):
    """An object of the cluster, or the installation, does not exist."""

    exit_code = ExitCode.NOT_FOUND


class UnavailableError(click.ClickException):
    """The cluster does not answer, or a rotation did not finish in time."""

    exit_code = ExitCode.UNAVAILABLE
