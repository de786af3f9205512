"""The steps that make an image of a version: fetch its files, build, push, record the image in MLflow.

A repeated run of a packaged version only looks whether the registry still has the image.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from model_contract.image_reference import PROJECT_FIELD, TAG, ImageReference
from model_contract.layout import run_directory
from model_contract.names import TAG_DIGEST, TAG_IMAGE
from model_contract.tls import tls_context
from model_delivery.errors import DeliveryError
from model_delivery.fetch import FetchRequest, fetch
from model_delivery.manifest import Manifest
from model_delivery.presigned_hosts import PresignedHosts
from model_delivery.proxy import proxy_for
from model_delivery.settings import Upstream
from model_delivery.tracking_uri import parse_tracking_uri
from model_lifecycle.digests import translated
from model_lifecycle.errors import InvalidError, NotFoundError, PreconditionError
from model_lifecycle.packaging.image import Image, digest_of, image_of
from model_lifecycle.packaging.image_registry import ImageRegistry
from model_lifecycle.registry import Registry, Version
from model_lifecycle.registry_changes import confirmed_write, tag_change
from model_lifecycle.stages import READY

UNNAMED: Final = (
    "models"  # stands for the owner; with the caller's name, two callers would make two images of one version
)
Report = Callable[[str, str], None]  # a step, and a text about it


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageRequest:
    """A version to package, and the repository for its image, which may hold `{project_id}`.

    `tag` is the id of the run unless the caller names one. The owner: `owner` > the tags in MLflow > UNNAMED.
    """

    name: str
    version: str
    to: str
    tag: str = ""
    owner: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packaged:
    """The image of a version: its reference by digest, and its tag. `pushed` is False if it was there before."""

    image: str
    tag: str
    pushed: bool


def package_version(request: PackageRequest, registry: Registry, report: Report) -> Packaged:
    """Package a version. Raises LifecycleError."""
    _target(request, "project")  # a mistake in it is found before anything is asked
    model = registry.model(request.name)
    version = model.version(request.version)
    if version is None:
        raise NotFoundError(f"{request.name!r} has no version {request.version}")
    title = f"{version.name!r} version {version.version}"
    if version.status != READY:
        raise PreconditionError(f"{title} is {version.status}, not {READY}: register it again")
    ref = model.reference(version, owner=request.owner, user=UNNAMED)
    project = model.project_of(version)
    target = _target(request, project)
    tag = request.tag or target.tag or ref.run_id
    recorded = _recorded(version, target, title)
    with ImageRegistry(target, os.environ) as images:
        present = images.digest_of(tag)  # a refused login is found before the files are fetched
        if recorded and present == recorded.digest:
            report("image", f"{recorded} is there")
            return Packaged(image=str(recorded), tag=tag, pushed=False)
        with _temporary_directory() as store:
            delivered = _delivered(FetchRequest(model=ref, store=Path(store), project=project), registry)
            # The first write is refused if the caller may not package: nothing is pushed then.
            confirmed_write(tag_change(registry, version, TAG_DIGEST, delivered.digest))
            report("digest", delivered.digest)
            image = image_of(delivered, Path(store) / run_directory(ref.owner, ref.run_id))
            pinned = target.pinned(image.digest)
            _check_unchanged(pinned, recorded, present, tag)
            _push(images, image, tag, report)
    confirmed_write(tag_change(registry, version, TAG_IMAGE, str(pinned)))
    report("image", f"{pinned}, tag {tag}")
    return Packaged(image=str(pinned), tag=tag, pushed=True)


def _temporary_directory() -> tempfile.TemporaryDirectory[str]:
    """Return a new directory for the files. Raises InvalidError if none can be made."""
    try:
        return tempfile.TemporaryDirectory(prefix="model-api-")
    except OSError as error:
        raise InvalidError(f"{error.strerror}: set TMPDIR to a directory that can be written to") from error


def parse_target(text: str) -> ImageReference:
    """Return the repository that `--to` names. Raises InvalidError."""
    try:
        found = ImageReference.parse(text)
    except ValueError as error:
        raise InvalidError(f"--to names no repository of a registry: {error}") from error
    if found.digest:
        raise InvalidError("--to has a digest, which the image itself decides: leave it out")
    return found


def _target(request: PackageRequest, project: str | None) -> ImageReference:
    if PROJECT_FIELD in request.to and not project:
        raise PreconditionError(
            f"{request.name!r} version {request.version} has no project for {PROJECT_FIELD}: an admin runs `model-api"
            " backfill`"
        )
    target = parse_target(request.to.replace(PROJECT_FIELD, project or ""))
    if request.tag and not TAG.fullmatch(request.tag):
        raise InvalidError("--tag is no tag of an image: at most 128 letters, digits, dots, hyphens and underscores")
    if target.tag and request.tag:
        raise InvalidError(f"the tag is given twice: {target.tag} in --to, and {request.tag} in --tag")
    return target


def _recorded(version: Version, target: ImageReference, title: str) -> ImageReference | None:
    """Return the image that the version's tag names. Raises PreconditionError if it is in another repository."""
    if not (written := version.tags.get(TAG_IMAGE)):
        return None
    try:
        found = ImageReference.parse(written)
    except ValueError as error:
        raise PreconditionError(f"the tag {TAG_IMAGE} of {title} is no image: {error}") from error
    if found.name != target.name:
        raise PreconditionError(
            f"{title} is packaged as {found}, and a version has one image: package it to {found.name}"
        )
    return found


def _delivered(request: FetchRequest, registry: Registry) -> Manifest:
    try:
        return fetch(request, _upstream(registry)).manifest
    except DeliveryError as error:
        raise translated(error) from error


def _upstream(registry: Registry) -> Upstream:
    """Return MLflow for the delivery, with the address and the credential of the registry."""
    tracking = registry.tracking
    uri = parse_tracking_uri(tracking.uri)
    return Upstream(
        uri=uri,
        credential=tracking.authorization,
        proxy=proxy_for(uri, os.environ),
        tls=tls_context(os.environ) if uri.scheme == "https" else None,
        presigned=PresignedHosts.from_environment(os.environ),
    )


def _check_unchanged(pinned: ImageReference, recorded: ImageReference | None, present: str | None, tag: str) -> None:
    """Raise PreconditionError if the version has another image already, or if the tag names another image."""
    if recorded and recorded != pinned:
        raise PreconditionError(
            f"the files are the image {pinned.digest}, and the version is recorded as {recorded}, which another version"
            " of this program made: register the files as a new version"
        )
    if present and present != pinned.digest:
        raise PreconditionError(
            f"{pinned.name} has the tag {tag} for another image, {present}; name another one with --tag"
        )


def _push(images: ImageRegistry, image: Image, tag: str, report: Report) -> None:
    for number, layer in enumerate(image.layers, 1):
        pushed = images.put_blob(layer.digest, layer.size, layer.chunks)
        said = f"{number} of {len(image.layers)}, {layer.size} bytes"
        report("layer", said if pushed else f"{said}, was there")
    images.put_blob(digest_of(image.config), len(image.config), lambda: [image.config])
    images.put_manifest(image.manifest, tag)
