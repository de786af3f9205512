"""`model-api-gate`: run the gate, print its table, and explain decisions without a running gate."""

import asyncio
import io
import sys
from pathlib import Path
from typing import Any, Final

from model_contract import json_log
from model_contract.exit_codes import ExitCode
from model_contract.extras import extra_of_program
from model_contract.setting_types import boolean
from model_contract.settings import Setting, SettingError

EXTRA: Final = "gate"

with extra_of_program(EXTRA):
    import click

    from tracking_gate.audit_join import JoinedLogs
    from tracking_gate.authentication.issuers_file import IssuersError
    from tracking_gate.authentication.people import PeopleError, hashed
    from tracking_gate.errors import InvalidRequest
    from tracking_gate.http.parsing import decoded_path
    from tracking_gate.policy.routes import ROUTES, RouteAccess, match
    from tracking_gate.settings import SETTINGS, ServeSettings


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tables have characters that an output in ASCII does not
            stream.reconfigure(errors="backslashreplace")


class SettingValue(click.ParamType[Any]):
    """The type of an option that sets a declared setting. A wrong value is a usage error, with exit code 2."""

    name = "value"

    def __init__(self, declared: Setting) -> None:
        self._declared = declared

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return self._declared.value_of(value, self._declared.option)
        except SettingError as error:
            raise click.UsageError(str(error), ctx) from error


def option_of(declared: Setting) -> click.Option:
    """Return the option of a setting. Click reads the variable of the same name (`auto_envvar_prefix`)."""
    names = [declared.option, declared.name]
    if declared.read is boolean:
        return click.Option(names, is_flag=True, help=declared.meaning)
    default: dict[str, Any] = {"default": declared.default, "show_default": True} if declared.default else {}
    return click.Option(
        names,
        type=SettingValue(declared),
        required=declared.default is None,
        multiple=declared.several,
        metavar=declared.metavar,
        help=declared.meaning,
        **default,
    )


@main.command(params=[option_of(declared) for declared in SETTINGS])
def serve(**values: Any) -> None:
    """Answer requests until SIGTERM. Each option can be a variable: MODEL_API_GATE_SERVE_UPSTREAM, and so on."""
    from tracking_gate.server import serve  # noqa: PLC0415  the other commands start faster without the server

    # On standard error: standard output may be the audit log.
    json_log.configure(sys.stderr, json_log.JsonFormatter(json_log.dumps))
    try:
        asyncio.run(serve(ServeSettings(**values)))
    except (SettingError, PeopleError, IssuersError, OSError) as error:
        raise InvalidInputError(str(error)) from error


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


@main.group()
def audit() -> None:
    """Work on files of the audit log."""


@audit.command()
@click.argument(
    "files", nargs=-1, required=True, metavar="FILE...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
def join(files: tuple[Path, ...]) -> None:
    """Print the audit logs of several replicas as one, in order. Exits with 7 if lines are missing, and says which."""
    logs = JoinedLogs(files)
    try:
        for line in logs.lines():
            click.echo(line)
    except OSError as error:
        raise InvalidInputError(str(error)) from error
    for fault in logs.faults:
        click.echo(fault, err=True)
    if logs.faults:
        raise SystemExit(ExitCode.PARTIAL)
