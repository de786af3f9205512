"""`model-api package`: make an image of a registered version, which Kubernetes mounts as a volume."""

import json
from dataclasses import asdict

import click

from model_contract.extras import extra_of_program
from model_lifecycle.commands.package_option import TO_HELP
from model_lifecycle.commands.stage import FORM, NAME, registry_of
from model_lifecycle.commands.tracking_options import Connections, tracking_options
from model_lifecycle.notebook import checked
from model_lifecycle.progress import ProgressLines

with extra_of_program("package"):
    from model_lifecycle.packaging.sequence import PackageRequest, package_version


@click.command()
@NAME
@click.option("--version", required=True, help="The version of it.")
@click.option(
    "--to",
    required=True,
    metavar="REPOSITORY",
    help=f"The {TO_HELP}. It may end with a tag.",
)
@click.option("--tag", default="", help="Tag of the image; without it, the id of the version's run.")
@click.option(
    "--owner",
    default="",
    help="Owner in the manifest; without it, what the tags in MLflow say, or models.",
)
@FORM
@tracking_options
def package(  # noqa: PLR0913  click hands over each option
    *, connections: Connections, name: str, version: str, to: str, tag: str, owner: str, form: str
) -> None:
    """Fetch the files of a version, make an image of them, push it, and record it in MLflow.

    The registry's credentials are those of `docker login`, or ORAS_USER and ORAS_PASS. Prints the image by its digest.
    """
    name, version = checked(name, version)
    request = PackageRequest(name=name, version=version, to=to, tag=tag, owner=owner)
    packaged = package_version(request, registry_of(connections), ProgressLines().done)
    click.echo(json.dumps(asdict(packaged), indent=2) if form == "json" else packaged.image)
