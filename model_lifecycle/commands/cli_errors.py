"""The one place that prints an error of the lifecycle: its message, and the exit code of its class."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from model_lifecycle.commands import report
from model_lifecycle.errors import LifecycleError


@contextmanager
def cli_errors(form: str = "text") -> Iterator[None]:
    """End the command with the message and the exit code of a LifecycleError that the block raises.

    With the form `github` the message is an annotation, and is on the page of the job.
    """
    try:
        yield
    except LifecycleError as error:
        if form == "github":
            report.failed(str(error))
        else:
            click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
