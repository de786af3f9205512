"""The entry of `model-api`: the list of its commands."""

import io
import sys
from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from model_contract.exit_codes import ExitCode
from model_contract.extras import extra_of_program

EXTRA: Final = "lifecycle"

with extra_of_program(EXTRA):
    import click

    from model_lifecycle.commands.cli_errors import cli_errors
    from model_lifecycle.errors import unexpected

COMMANDS: Final[Mapping[str, str]] = {
    "backfill": "backfill",
    "doctor": "doctor",
    "package": "package",
    "plan": "promotion",
    "promote": "promotion",
    "rollback": "promotion",
    "rollout": "rollout",
    "stage": "stage",
    "status": "status",
    "token": "tokens",
    "url": "stage",
    "validate": "validate",
    "workflow": "workflow",
}


class Commands(click.Group):
    """A group that loads only the command that runs: `validate` does not wait for the clients of MLflow and Domino."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Print an unexpected error by its name, without a trace: a value in it could be a secret."""
        try:
            with extra_of_program(EXTRA), cli_errors():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise  # click ends quietly if the reader of the output has gone, as in `model-api status | head -1`
        except Exception as error:  # noqa: BLE001  see above
            click.echo(f"Error: {unexpected(error)}", err=True)
            sys.exit(ExitCode.UNEXPECTED)

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        with extra_of_program(EXTRA):
            found: Any = getattr(import_module(f"model_lifecycle.commands.{COMMANDS[name]}"), name)
        return found if isinstance(found, click.Command) else None


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflow-model-api")
def main() -> None:
    """Bring a registered model version to Staging and Production."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tables have characters that an output in ASCII does not
            stream.reconfigure(errors="backslashreplace")
