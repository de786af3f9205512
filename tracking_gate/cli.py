"""`model-api-gate`: run the gate, print its table, and explain decisions without a running gate."""

import asyncio
from pathlib import Path
from typing import Final

from model_contract.exit_codes import ExitCode
from model_contract.extras import extra_of_program

EXTRA: Final = "gate"

with extra_of_program(EXTRA):
    import click

    from tracking_gate.authentication.people import PeopleError, hashed
    from tracking_gate.errors import InvalidRequest
    from tracking_gate.http.parsing import decoded_path
    from tracking_gate.policy.routes import ROUTES, RouteAccess, match


class InvalidInputError(click.ClickException):
    """An error of the user's input; the command prints one sentence."""

    exit_code = ExitCode.INVALID_INPUT


class Commands(click.Group):
    """A group of commands that names the extra if a package is not installed."""

    def invoke(self, ctx: click.Context) -> object:
        with extra_of_program(EXTRA):
            return super().invoke(ctx)


@click.group(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "MODEL_API_GATE"}
)
@click.version_option(package_name="mlflow-model-api")
def main() -> None:
    """Forward to MLflow the requests that the caller may make."""


@main.command()
@click.option("--upstream", required=True, metavar="URL", help="MLflow, which nobody but the gate can reach.")
@click.option(
    "--secret-dir",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The mounted Secret with every project's tokens, ID.apikey and the like.",
)
@click.option("--host", default="0.0.0.0", show_default=True, help="Address to listen on.")  # noqa: S104  it is in a pod
@click.option("--port", type=int, default=5000, show_default=True, help="Port to listen on.")
@click.option(
    "--people-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="People, their projects, and their passwords; JSON.",
)
@click.option(
    "--people-header", metavar="NAME", help="Header in which an authenticating proxy in front names the person."
)
@click.option(
    "--domino-url",
    metavar="URL",
    help="Domino, which is asked who sends an X-Domino-Api-Key or an access token of Domino's.",
)
@click.option(
    "--admin",
    "admins",
    multiple=True,
    metavar="NAME",
    help="A user of Domino's who is an admin of the gate; Domino's own are not.",
)
@click.option(
    "--audit-log",
    default="-",
    show_default=True,
    metavar="FILE",
    help='Where each decision is recorded; "-" is standard output.',
)
@click.option(
    "--allowed-host", "hosts", multiple=True, metavar="HOST[:PORT]", help="What Host may be; any where none is given."
)
@click.option("--metrics-port", type=int, help="Port for Prometheus; none where none is given.")
@click.option(
    "--accept-legacy", is_flag=True, help="Accept tokens of another format, as domino-mlflow-client made them."
)
@click.option(
    "--attempts",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="How often an address may fail to authenticate in a minute.",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="ADDRESS",
    help="Address or network of a proxy in front, whose X-Forwarded-For names the client's address for limits.",
)
@click.option(
    "--connections",
    type=click.IntRange(min=1),
    default=4000,
    show_default=True,
    help="How many connections of clients there may be; fewer if the limit on open files is lower.",
)
@click.option(
    "--connections-per-address",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many of them from one address.",
)
@click.option(
    "--requests-per-caller",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="How many requests a token or a person may have under way; eight times as many wait, others get a 429.",
)
@click.option(
    "--client-pause",
    type=click.FloatRange(min=1),
    default=30,
    show_default=True,
    help="Seconds in which a client may send nothing of its request's body, or take nothing of its answer.",
)
def serve(  # noqa: PLR0913, PLR0917  click hands over each option
    upstream: str,
    secret_dir: Path,
    host: str,
    port: int,
    people_file: Path | None,
    people_header: str | None,
    domino_url: str | None,
    admins: tuple[str, ...],
    audit_log: str,
    hosts: tuple[str, ...],
    metrics_port: int | None,
    accept_legacy: bool,
    attempts: int,
    proxies: tuple[str, ...],
    connections: int,
    connections_per_address: int,
    requests_per_caller: int,
    client_pause: float,
) -> None:
    """Answer requests until SIGTERM. Each option can be a variable: MODEL_API_GATE_SERVE_UPSTREAM, and so on."""
    from tracking_gate.http.client_addresses import parsed_networks  # noqa: PLC0415  as below
    from tracking_gate.logs import configure  # noqa: PLC0415  as below
    from tracking_gate.server import (  # noqa: PLC0415  the other commands start faster without the server
        ServeSettings,
        serve,
    )

    for option, url in (("--upstream", upstream), ("--domino-url", domino_url)):
        if url is not None and not url.startswith(("http://", "https://")):
            raise InvalidInputError(f"{option} {url!r} is no URL; such as {EXAMPLES[option]}")
    if people_header and not people_file:
        raise InvalidInputError("--people-header needs --people-file, which says whose the projects are")
    if admins and not domino_url:
        raise InvalidInputError(
            "--admin names users of Domino's and needs --domino-url; in --people-file an admin is who has admin: true"
        )
    try:
        networks = parsed_networks(proxies)
    except ValueError as error:
        raise InvalidInputError(f"--proxy is no address or network: {error}; such as 10.0.0.0/8") from error
    settings = ServeSettings(
        host=host,
        port=port,
        upstream=upstream,
        secret_dir=secret_dir,
        people_file=people_file,
        people_header=people_header,
        domino_url=domino_url,
        domino_admins=frozenset(admins),
        audit_log=audit_log,
        hosts=frozenset(name.lower() for name in hosts),
        metrics_port=metrics_port,
        accept_legacy=accept_legacy,
        attempts=attempts,
        proxies=networks,
        connections=connections,
        connections_per_address=connections_per_address,
        requests_per_caller=requests_per_caller,
        client_pause=client_pause,
    )
    configure()
    try:
        asyncio.run(serve(settings))
    except (PeopleError, OSError) as error:
        raise InvalidInputError(str(error)) from error


EXAMPLES = {"--upstream": "http://mlflow.mlflow-efs.svc:5000", "--domino-url": "https://domino.example.com"}


@main.command()
def routes() -> None:
    """Print the policy's table in the order in which the gate reads it; any other route is denied."""
    from rich.console import Console  # noqa: PLC0415  as above
    from rich.table import Table  # noqa: PLC0415  as above

    table = Table("methods", "path", "who", box=None)
    for route in ROUTES:
        table.add_row(
            " ".join(route.methods),
            route.path,
            route.access.callers + (f" ({route.rule})" if route.operation else ""),
        )
    Console(highlight=False).print(table)


@main.command()
@click.argument("method")
@click.argument("path")
def explain(method: str, path: str) -> None:
    """Print the row of the table that decides about METHOD PATH. Exits with 6 if the route is denied."""
    try:
        found = match(method.upper(), decoded_path(path.partition("?")[0]))
    except InvalidRequest as error:
        raise InvalidInputError(str(error)) from error
    if found is None:
        click.echo("denied: the table does not have this route")
        raise SystemExit(ExitCode.PRECONDITION)
    click.echo(f"{found.route.path}: {found.route.access.callers} ({found.route.rule})")
    if found.route.access is RouteAccess.DENIED:
        raise SystemExit(ExitCode.PRECONDITION)


@main.command()
@click.password_option(
    help="The password; without the option the command asks for it, so that no list of processes shows it."
)
def password(password: str) -> None:
    """Print the hash that a file of people holds for a password."""
    click.echo(hashed(password))
