"""`serve`: the HTTPS server that answers the API server."""

import os

import click

from webhook.cli_errors import InvalidInputError
from webhook.server.settings import ServerSettings
from webhook.server.supervisor import Supervisor, configure_logs
from webhook.server.tls import CertificateError
from webhook.settings import Settings


@click.command()
def serve() -> None:
    """Answer the API server. Everything is set by variables, which docs/reference/webhook-commands.md lists."""
    settings, server = Settings.from_mapping(os.environ), ServerSettings.from_mapping(os.environ)
    configure_logs(server.log_level)
    try:
        supervisor = Supervisor(settings, server)
    except CertificateError as error:
        raise InvalidInputError(str(error)) from error
    supervisor.run()
