"""`explain`: the rules, the containers and the decision of each pod in a file, or of one object of the cluster."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from webhook.cli_errors import DocumentError
from webhook.commands.options import CONTEXT, FILES, NAMESPACE, OUTPUT, SETTINGS, read_settings
from webhook.offline.explanation import explain as explain_workload
from webhook.offline.input_files import read_objects
from webhook.offline.workloads import members, namespace_labels, workloads_of


@click.command()
@click.argument("workload", required=False, metavar="[KIND/NAME]")
@FILES
@NAMESPACE
@SETTINGS
@CONTEXT
@OUTPUT
def explain(  # noqa: PLR0913, PLR0917  click hands over each option
    workload: str | None,
    filenames: Sequence[str],
    namespace: str,
    settings_file: Path | None,
    context: str | None,
    output: str,
) -> None:
    """Explain why each pod in FILE, or one object of the cluster, gets a model or not.

    An object of the cluster is explained with the settings of the webhook there, unless --settings names others.
    """
    if (workload is None) == (not filenames):
        raise click.UsageError("name an object of the cluster, such as pod/x, or a file with -f")
    if workload:
        from webhook.commands.cluster import read_workload  # noqa: PLC0415  a file needs no Kubernetes client

        contents, settings = read_workload(workload, namespace, context)
    else:
        contents, settings = [content for filename in filenames for content in read_file(filename)], None
    workloads = [found for content in contents for found in workloads_of(content, namespace=namespace)]
    if not workloads:
        raise DocumentError(
            f"{workload or ', '.join(filenames)} holds no pod and no pod template; if a controller makes pods of it,"
            " explain one of them"
        )
    labels = namespace_labels(contents)
    if settings is None or settings_file:
        settings = read_settings(settings_file)
    explanations = [explain_workload(found, settings, labels=labels.get(found.namespace)) for found in workloads]
    if output == "json":
        click.echo(json.dumps([explanation.as_json() for explanation in explanations], indent=2))
        return
    from webhook.commands.tables import show_explanation  # noqa: PLC0415  JSON needs no tables

    for explanation in explanations:
        show_explanation(explanation)


def read_file(filename: str) -> list[dict[str, Any]]:
    """Return every object of the file, with lists taken apart."""
    return [content for item in read_objects(filename) for _, content in members(item)]
