"""`model-api stage | url`: deploy a registered version as a model API in Domino, and print its URL."""

import json
import os
from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from typing import Any

import click

from model_lifecycle.commands.cli_errors import cli_errors
from model_lifecycle.commands.package_option import PACKAGE_TO, package_first
from model_lifecycle.commands.tracking_options import Connections, tracking_options
from model_lifecycle.domino.access import DominoAccess
from model_lifecycle.domino.choice import APIS
from model_lifecycle.domino.model_apis import ROUTES, model_url
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.errors import NotFoundError
from model_lifecycle.notebook import checked
from model_lifecycle.progress import ProgressLines
from model_lifecycle.registry import Registry
from model_lifecycle.staging.marks import deployed_version
from model_lifecycle.staging.request import PROJECT, StageOptions, request_of
from model_lifecycle.staging.sequence import stage_version

NAME = click.option("--name", required=True, help="The registered model.")
FORM = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)

DOMINO_API = click.option(
    "--domino-api",
    "api",
    type=click.Choice([*APIS]),
    help="Which of Domino's APIs; without it, the first that answers.",
)


def domino_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the option --domino-url. The command gets `access` instead of it."""

    @click.option("--domino-url", "url", metavar="URL", help="Domino; without it, DOMINO_API_PROXY or DOMINO_API_HOST.")
    @wraps(command)
    def with_access(*, url: str | None, **options: Any) -> None:
        with cli_errors():
            command(access=DominoAccess.from_environ(os.environ, uri=url), **options)

    return with_access


@click.command()
@NAME
@click.option("--version", required=True, help="The version of it.")
@click.option("--env-id", help="Domino's environment for the model API; without it, DOMINO_ENVIRONMENT_ID.")
@click.option(
    "--owner", help="MLFLOW_MODEL_OWNER of the model API; without it, the version's tags or the workspace's user."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=900.0,
    show_default=True,
    help="Seconds to wait until the model API runs.",
)
@click.option("--no-call", "calls", flag_value=False, default=True, help="Do not call it with the model's own example.")
@click.option("--alias-only", is_flag=True, help="Set the alias only: for registries without stages.")
@PACKAGE_TO
@FORM
@DOMINO_API
@domino_options
@tracking_options
def stage(  # noqa: PLR0913  click hands over each option
    *,
    connections: Connections,
    access: DominoAccess,
    api: str | None,
    name: str,
    version: str,
    env_id: str | None,
    owner: str | None,
    wait: float,
    calls: bool,
    alias_only: bool,
    to: str | None,
    form: str,
) -> None:
    """Deploy a version to Staging: a model API in Domino, called once, marked in MLflow. A repeated run
    continues.
    """
    name, version = checked(name, version)
    request = request_of(
        os.environ, name=name, version=version, environment_id=env_id, owner=owner, alias_only=alias_only
    )
    registry = registry_of(connections)
    package_first(registry, to, name=name, version=version, owner=request.owner)
    with DominoRest(access) as rest:
        staged = stage_version(request, registry, rest, StageOptions(wait=wait, calls=calls, api=api), ProgressLines())
    click.echo(json.dumps(asdict(staged), indent=2) if form == "json" else staged.url)


@click.command()
@NAME
@click.option("--version", help="The version of it.")
@click.option("--alias", help="Instead of --version: the version behind this alias, such as production.")
@click.option(
    "--routing",
    type=click.Choice([*ROUTES]),
    default="basic",
    show_default=True,
    help="The routing mode in the settings of the model API.",
)
@domino_options
@tracking_options
def url(  # noqa: PLR0913  as above
    *, connections: Connections, access: DominoAccess, name: str, version: str | None, alias: str | None, routing: str
) -> None:
    """Print the URL of the model API of a version, from the version's tags. Exits with 5 if it has none."""
    if (version is None) == (alias is None):
        raise click.UsageError("name the --version, or an --alias")
    found = deployed_version(registry_of(connections).model(name), number=version, alias=alias)
    if found.model_id is None:
        raise NotFoundError(f"{name!r} version {found.version.version} has no model API: `model-api stage` makes one")
    click.echo(model_url(access.public_uri, found.model_id, routing))


def registry_of(connections: Connections) -> Registry:
    """Return the registry with the token of the workspace's project, if the workspace names a project."""
    project = os.environ.get(PROJECT, "").lower()
    return connections.of_project(project) if project else connections.for_any_project()
