"""The option of `stage` and `promote` that makes an image of each version before anything is deployed or moved."""

from typing import Final

import click

from model_contract.extras import extra_of_program
from model_lifecycle.progress import ProgressLines
from model_lifecycle.registry import Registry

TO_HELP: Final = "registry and repository of the image; {project_id} in it stands for the project's id"

PACKAGE_TO = click.option(
    "--package-to",
    "to",
    metavar="REPOSITORY",
    help=f"Before that, make an image as `model-api package` does: {TO_HELP}.",
)


def package_first(registry: Registry, to: str | None, *, name: str, version: str, owner: str = "") -> None:
    """Package a version if the option names a repository. Raises LifecycleError."""
    if to is None:
        return
    with extra_of_program("package"):
        from model_lifecycle.packaging.sequence import (  # noqa: PLC0415  only this option needs the extra
            PackageRequest,
            package_version,
        )
    request = PackageRequest(name=name, version=version, to=to, owner=owner)
    package_version(request, registry, ProgressLines().done)
