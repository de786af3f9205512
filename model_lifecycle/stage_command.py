"""`model-api stage | url`: a registered version as a model API in Domino, and where that is called."""

import json
import os
from dataclasses import asdict

import click

from model_lifecycle.domino.access import Access
from model_lifecycle.domino.model_url import ROUTES, model_url
from model_lifecycle.domino.rest import DominoRest
from model_lifecycle.domino_options import DOMINO_API, domino_options
from model_lifecycle.errors import NotFoundError
from model_lifecycle.notebook import checked
from model_lifecycle.registry import Registry
from model_lifecycle.staging.progress import Lines
from model_lifecycle.staging.sequence import Ways, stage_version
from model_lifecycle.staging.standing import deployed_version
from model_lifecycle.tracking_options import Connections, tracking_options
from model_lifecycle.workspace import PROJECT, order_of

NAME = click.option("--name", required=True, help="The registered model.")
FORM = click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)


@click.command()
@NAME
@click.option("--version", required=True, help="The version of it.")
@click.option("--env-id", help="Domino's environment for the model API; without it, DOMINO_ENVIRONMENT_ID.")
@click.option(
    "--owner", help="For MLFLOW_MODEL_OWNER; without it, what the version's tags say, or the user of the workspace."
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=900.0,
    show_default=True,
    help="Seconds until the model API has to run.",
)
@click.option("--no-call", "calls", flag_value=False, default=True, help="Do not call it with the model's own example.")
@click.option("--alias-only", is_flag=True, help="Leave the stage alone: for registries without them.")
@FORM
@DOMINO_API
@domino_options
@tracking_options
def stage(  # noqa: PLR0913  click hands over each option
    *,
    connections: Connections,
    access: Access,
    api: str | None,
    name: str,
    version: str,
    env_id: str | None,
    owner: str | None,
    wait: float,
    calls: bool,
    alias_only: bool,
    form: str,
) -> None:
    """Deploy a version to Staging: a model API in Domino, called once, marked in MLflow. It can be repeated at will,
    and goes on.
    """
    name, version = checked(name, version)
    order = order_of(os.environ, name=name, version=version, environment_id=env_id, owner=owner, alias_only=alias_only)
    with DominoRest(access) as rest:
        staged = stage_version(order, registry_of(connections), rest, Ways(wait=wait, calls=calls, api=api), Lines())
    click.echo(json.dumps(asdict(staged), indent=2) if form == "json" else staged.url)


@click.command()
@NAME
@click.option("--version", help="The version of it.")
@click.option("--alias", help="Or what this alias means, such as production.")
@click.option(
    "--routing",
    type=click.Choice([*ROUTES]),
    default="basic",
    show_default=True,
    help="As in the settings of the model API.",
)
@domino_options
@tracking_options
def url(  # noqa: PLR0913  as above
    *, connections: Connections, access: Access, name: str, version: str | None, alias: str | None, routing: str
) -> None:
    """Print where the model API of a version is called, from the version's tags. Exits with 5 where it has none."""
    if (version is None) == (alias is None):
        raise click.UsageError("name the --version, or an --alias")
    found = deployed_version(registry_of(connections).model(name), number=version, alias=alias)
    if found.model_id is None:
        raise NotFoundError(f"{name!r} version {found.version.version} has no model API: `model-api stage` makes one")
    click.echo(model_url(access.public_uri, found.model_id, routing))


def registry_of(connections: Connections) -> Registry:
    """With the token of the workspace's project, where the caller has one."""
    project = os.environ.get(PROJECT, "").lower()
    return connections.of_project(project) if project else connections.of_anybody()
