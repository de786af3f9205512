"""`render`: the objects by which the API server knows the webhook."""

import click

from webhook.commands.options import INSTALLED_NAMESPACE
from webhook.offline.yaml_text import as_yaml
from webhook.registration import mutating_webhook, policy


@click.command()
@INSTALLED_NAMESPACE
def render(namespace: str) -> None:
    """Print the webhook's registration and the policy behind it."""
    click.echo(as_yaml([mutating_webhook(namespace), *policy(namespace)]), nl=False)
