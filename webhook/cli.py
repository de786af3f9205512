"""`model-api-webhook`: the group of commands, the module that holds each one, and the end of a command that fails."""

import io
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Final

from model_contract.extras import extra_of_program

EXTRA: Final = "webhook"

with extra_of_program(EXTRA):
    import click

    from model_contract.settings import SettingError
    from webhook.cli_errors import InvalidInputError


@dataclass(frozen=True, slots=True, kw_only=True)
class LazyCommand:
    """A command that is imported when it runs: `webhook.commands.<module>` defines a function of the command's name."""

    name: str
    module: str
    summary: str


COMMANDS: Final[Sequence[LazyCommand]] = (
    LazyCommand(
        name="certs", module="certs", summary="Show the self-managed certificates of an installation, or replace them."
    ),
    LazyCommand(
        name="diff",
        module="inject",
        summary="Print what the webhook would change in the objects of FILE, as a unified diff.",
    ),
    LazyCommand(name="doctor", module="doctor", summary="Check an installation, and say what to do about each fault."),
    LazyCommand(
        name="explain",
        module="explain",
        summary="Explain why each pod in FILE, or one object of the cluster, gets a model or not.",
    ),
    LazyCommand(name="inject", module="inject", summary="Print the objects of FILE as the webhook would admit them."),
    LazyCommand(name="render", module="render", summary="Print the webhook's registration and the policy behind it."),
    LazyCommand(
        name="review", module="review", summary="Answer the AdmissionReview on standard input, as the server would."
    ),
    LazyCommand(name="serve", module="serve", summary="Answer the API server."),
)


class LazyGroup(click.Group):
    """Imports the module of a command when the command runs, so that `--help` and each command start fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [command.name for command in COMMANDS]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for command in COMMANDS:
            if command.name == cmd_name:
                with extra_of_program(EXTRA):
                    found: Any = getattr(import_module(f"webhook.commands.{command.module}"), cmd_name)
                return found if isinstance(found, click.Command) else None
        return None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of `--help` from the summaries, without importing a command."""
        with formatter.section("Commands"):
            formatter.write_dl([(command.name, command.summary) for command in COMMANDS])

    def invoke(self, ctx: click.Context) -> object:
        """Run the command. Settings that cannot be used end it with one sentence and an exit code."""
        try:
            with extra_of_program(EXTRA):
                return super().invoke(ctx)
        except SettingError as error:
            raise InvalidInputError(str(error)) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflow-model-api")
def main() -> None:
    """Brings MLflow models to the pods that ask for them."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # tables have characters that an output in ASCII does not
            stream.reconfigure(errors="backslashreplace")
