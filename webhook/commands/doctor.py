"""`doctor`: checks of an installation."""

import json
import sys

import click

from model_contract.exit_codes import ExitCode
from webhook.commands.cluster import cluster_client
from webhook.commands.options import CONTEXT, INSTALLED_NAMESPACE, OUTPUT
from webhook.doctor.checks import examine, worst
from webhook.doctor.cluster_reader import ClusterReader
from webhook.doctor.findings import Health
from webhook.doctor.installation import Installation


@click.command()
@INSTALLED_NAMESPACE
@CONTEXT
@OUTPUT
def doctor(namespace: str, context: str | None, output: str) -> None:
    """Check an installation, and say what to do about each fault. Exits with 6 if something is wrong."""
    with cluster_client(context) as client:
        findings = list(examine(Installation(cluster=ClusterReader(client), namespace=namespace)))
    if output == "json":
        click.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
    else:
        from webhook.commands.tables import show_findings  # noqa: PLC0415  JSON needs no tables

        show_findings(findings)
    if worst(findings) is Health.BAD:
        sys.exit(ExitCode.PRECONDITION)
