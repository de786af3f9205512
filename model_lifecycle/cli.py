"""`model-api`: what data scientists and CI do with a registered version."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any, Final

from model_contract.extras import extra_of_program

EXTRA: Final = "lifecycle"

with extra_of_program(EXTRA):
    import click

COMMANDS: Final[Mapping[str, str]] = {
    "backfill": "backfill_command",
    "plan": "promotion_commands",
    "promote": "promotion_commands",
    "rollback": "promotion_commands",
    "stage": "stage_command",
    "status": "status_command",
    "token": "token_commands",
    "url": "stage_command",
    "validate": "validate_command",
    "workflow": "workflow_command",
}


class Commands(click.Group):
    """Loads the one that is run: who checks a file does not wait for clients of MLflow, Domino and Kubernetes."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        with extra_of_program(EXTRA):
            found: Any = getattr(import_module(f"model_lifecycle.{COMMANDS[name]}"), name)
        return found if isinstance(found, click.Command) else None

    def invoke(self, ctx: click.Context) -> object:
        with extra_of_program(EXTRA):
            return super().invoke(ctx)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mlflow-model-api")
def main() -> None:
    """Takes a registered model version to where it serves."""
