"""`inject` and `diff`: the objects of a file after the webhook's decision."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from model_contract.exit_codes import ExitCode
from webhook.commands.options import FILES, NAMESPACE, SETTINGS, read_settings
from webhook.offline import injected_objects
from webhook.offline.injected_objects import InjectedObject
from webhook.offline.input_files import read_objects
from webhook.offline.yaml_text import as_yaml


@click.command()
@FILES
@NAMESPACE
@SETTINGS
def inject(filenames: Sequence[str], namespace: str, settings_file: Path | None) -> None:
    """Print the objects of FILE as the webhook would admit them.

    Standard error says what was done. Prints nothing and exits with 6 if one of them is denied.
    """
    objects = read_injected_objects(filenames, namespace, settings_file)
    click.echo(as_yaml(item.content for item in objects), nl=False)


@click.command()
@FILES
@NAMESPACE
@SETTINGS
def diff(filenames: Sequence[str], namespace: str, settings_file: Path | None) -> None:
    """Print what the webhook would change in the objects of FILE, as a unified diff.

    Prints nothing and exits with 6 if one of them is denied.
    """
    click.echo(injected_objects.difference(read_injected_objects(filenames, namespace, settings_file)), nl=False)


def read_injected_objects(filenames: Sequence[str], namespace: str, settings_file: Path | None) -> list[InjectedObject]:
    """Return the objects after the decision, and report each pod on standard error. Exits if one is denied."""
    if not filenames:
        raise click.UsageError("name a file with -f")
    contents = [content for filename in filenames for content in read_objects(filename)]
    objects = injected_objects.inject(contents, read_settings(settings_file), namespace=namespace)
    for item in objects:
        for line in item.report:
            click.echo(line, err=True)
    if any(item.denied for item in objects):
        sys.exit(ExitCode.PRECONDITION)
    return objects
