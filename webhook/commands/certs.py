"""`certs`: the self-managed certificates of an installation, and their rotation."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from webhook.certificates import rotation
from webhook.certificates.cluster import ClusterObjects
from webhook.cli_errors import UnavailableError
from webhook.commands.cluster import cluster_client
from webhook.commands.options import CONTEXT, INSTALLED_NAMESPACE


@click.group()
def certs() -> None:
    """Show the self-managed certificates of an installation, or replace them."""


@certs.command()
@INSTALLED_NAMESPACE
@CONTEXT
def status(namespace: str, context: str | None) -> None:
    """Show the certificates, how long each is valid, and if the API server trusts them."""
    with cluster_objects(context, namespace) as objects:
        for title, text in rotation.status(objects):
            click.echo(f"{title:18}{text}")


@certs.command()
@INSTALLED_NAMESPACE
@CONTEXT
@click.option(
    "--ca",
    "authority",
    is_flag=True,
    help="Replace the authority too, in about a minute; reviews are answered meanwhile.",
)
def rotate(namespace: str, context: str | None, authority: bool) -> None:
    """Replace the certificate now. Reviews go on being answered meanwhile."""
    with cluster_objects(context, namespace) as objects:
        try:
            rotation.rotate(objects, authority=authority, report=click.echo)
        except rotation.RotationError as error:
            raise UnavailableError(str(error)) from error


@contextmanager
def cluster_objects(context: str | None, namespace: str) -> Iterator[ClusterObjects]:
    with cluster_client(context) as client:
        yield ClusterObjects(client, namespace)
