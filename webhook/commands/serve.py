"""`serve`: the HTTPS server that answers the API server."""

import os
import socket

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
    _check_host(server)
    try:
        supervisor = Supervisor(settings, server)
    except CertificateError as error:
        raise InvalidInputError(str(error)) from error
    supervisor.run()


def _check_host(server: ServerSettings) -> None:
    """Raise InvalidInputError for a host name that is not known: gunicorn would try it five times and end with 1."""
    try:
        socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise InvalidInputError(
            f"MODEL_API_WEBHOOK_SERVER_HOST: {error.strerror}; it must be an address or a name of this machine"
        ) from error
