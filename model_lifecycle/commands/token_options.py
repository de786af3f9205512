"""The options of `model-api token`, and the values that they become."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

import click

from model_contract.names import MLFLOW_NAMESPACE
from model_contract.tokens import Purpose
from model_lifecycle.commands.options import project_id
from model_lifecycle.tokens import store as token_store

UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


NEVER: Final = "never"
TTL_OF_NEW: Final = "90d"


def lifetime(context: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """Return a duration, or ENDLESS for `never`."""
    return token_store.ENDLESS if value == NEVER else duration(context, parameter, value)


def duration(_: click.Context, parameter: click.Parameter, value: str | None) -> timedelta | None:
    """Return the duration of a text such as `90d`, `24h` or `30m`."""
    if value is None:
        return None
    found = re.fullmatch(r"([1-9][0-9]{0,5})([mhd])", value)
    if not found:
        raise click.BadParameter(f"{value!r:.40} is no duration, such as 90d, 24h or 30m", param=parameter)
    return timedelta(**{UNITS[found[2]]: int(found[1])})


PROJECT = click.option(
    "-i", "--domino-project-id", "project", required=True, callback=project_id, help="The project's id."
)
NAME = click.option("-n", "--domino-project-name", "name", help="The project's name, for `token list`.")
OWNER = click.option("-o", "--domino-project-owner", "owner", help="The project's owner, for `token list`.")
NAMESPACE = click.option(
    "--namespace", default=MLFLOW_NAMESPACE, show_default=True, help="Namespace of the Secret of all projects."
)
SECRET = click.option(
    "--secret-name",
    help="The Secret's name; without it, mlflow-proxy-secret, or mlflow-model-secret if only that is there.",
)
CONTEXT = click.option("--context", help="Context of the kubeconfig; without it, the current one.")
SCOPE = click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice([purpose.value for purpose in Purpose]),
    help="Only this token; without it, both.",
)
TTL = click.option(
    "--ttl",
    callback=lifetime,
    default=TTL_OF_NEW,
    show_default=True,
    help=f"How long the token is valid; {NEVER}: until it is revoked.",
)
TTL_AS_BEFORE = click.option(
    "--ttl",
    callback=lifetime,
    help=f"How long the new token is valid, such as 90d, or {NEVER}; without it, as long as the former was made for.",
)
OUT = click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    help="New file for the promote token, readable by its owner only.",
)
GITHUB = click.option(
    "--github",
    metavar="OWNER/REPO[:ENVIRONMENT]",
    help="Repository whose secret PROJECT_ID_<ID> gets the promote token.",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenDestination:
    """The file or the GitHub secret that gets the promote token."""

    out: Path | None
    github: str | None

    def check(self, purposes: Sequence[Purpose]) -> None:
        if Purpose.PROMOTE in purposes and not (self.out or self.github):
            raise click.UsageError(
                "say where the promote token goes: --out FILE or --github OWNER/REPO; it is never printed"
            )
        if Purpose.PROMOTE not in purposes and (self.out or self.github):
            raise click.UsageError(
                "--out and --github are for the promote token; `model-api token sync` brings the pull token to its pods"
            )
