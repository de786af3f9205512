"""Fetch the model of a storage URI into a directory that is a mount, as a storage container of KServe.

A mount cannot be renamed into. So the model is fetched into a store within it, and then linked, MLmodel last:

    <directory>/MLmodel           a link, like one for each other file or directory at the model's root
    <directory>/.model-api/       the store: `model` with the files and their manifest, `.partial-<id>` before
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from model_contract.layout import MLMODEL, MODEL_DIRECTORY, STORAGE_DIRECTORY
from model_contract.model_ref import shown
from model_delivery.deadline import Deadline
from model_delivery.download import (
    Bounds,
    FetchResult,
    check_digest,
    check_ready,
    download,
    mlflow_artifacts,
    stopped_by_errors,
)
from model_delivery.errors import InvalidInputError, PreconditionError
from model_delivery.file_checks import complete_manifest, readable_manifest
from model_delivery.listed_model import ListedModel, find_model
from model_delivery.log import log
from model_delivery.manifest import Manifest
from model_delivery.mlflow_api import MlflowApi, Version
from model_delivery.object_stores import ObjectStores
from model_delivery.settings import Upstream
from model_delivery.source import artifacts_of, artifacts_of_run
from model_delivery.storage_uri import AliasUri, RunUri, StorageUri, VersionUri
from model_delivery.store import PartialModel, partial_model, publish, store_error, sync_directory

STORE, MODEL = STORAGE_DIRECTORY.split("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageRequest:
    """The model of a storage URI, the directory that gets it, and the limits. `text` is the URI as it was given."""

    uri: StorageUri
    text: str
    directory: Path
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def model(self) -> Path:
        """The directory of the files and their manifest."""
        return self.directory / STORE / MODEL


def fetch_storage(request: StorageRequest, upstream: Upstream, deadline: Deadline) -> FetchResult:
    """Fetch the model unless the directory holds the URI's, which is found without a request. Raises DeliveryError."""
    try:
        _make_store(request.directory / STORE)
        with partial_model(request.directory / STORE, MODEL, deadline) as partial:
            result = _present(request) or _download(request, upstream, partial, deadline)
            _link(request)
            return result
    except OSError as error:
        raise store_error(error) from error


def _make_store(store: Path) -> None:
    """Make the store's directory. A symbolic link could lead the fetch to any other directory."""
    if store.is_symlink() or (store.exists() and not store.is_dir()):
        raise InvalidInputError(f"{store} is not a directory; remove it, or give the model a directory of its own")
    store.mkdir(parents=True, exist_ok=True)


def _present(request: StorageRequest) -> FetchResult | None:
    manifest = complete_manifest(request.model, by_uri=True)
    return FetchResult(manifest=manifest, fetched=False) if manifest and manifest.uri == request.text else None


def _download(request: StorageRequest, upstream: Upstream, partial: PartialModel, deadline: Deadline) -> FetchResult:
    with mlflow_artifacts(upstream, deadline) as (api, artifacts):
        with stopped_by_errors(api, deadline):
            version, listed = _located(api, request.uri, artifacts.stores)
        paths = (*(file.path for file in listed.files), *listed.directories)
        _check_names(request, {path.partition("/")[0] for path in paths})
        files = download(listed, artifacts, partial, deadline, request.bounds)
    manifest = Manifest(
        models=(),
        uri=request.text,
        resolved=None if version is None or isinstance(request.uri, RunUri) else (request.uri.name, version.number),
        source=listed.source,
        files=files,
        directories=listed.directories,
    )
    try:
        _check_digest_of_uri(request, manifest)
        if version:
            check_digest(manifest, version, readable_manifest(request.model, by_uri=True))
    except PreconditionError:
        partial.clear()
        raise
    _unlink(request)
    publish(partial, request.model, manifest)
    return FetchResult(manifest=manifest, fetched=True, way=artifacts.way)


def _check_digest_of_uri(request: StorageRequest, manifest: Manifest) -> None:
    wanted = request.uri.digest if isinstance(request.uri, VersionUri) else None
    if wanted and wanted != manifest.digest:
        raise PreconditionError(
            f"the files of {request.uri} have the digest {manifest.digest}, and the storage URI asks for {wanted}: they"
            " changed after the URI was written; register them as a new version"
        )


def _located(api: MlflowApi, uri: StorageUri, stores: ObjectStores) -> tuple[Version | None, ListedModel]:
    """Return the version that the URI names, and its files; a model of a run need not be registered."""
    match uri:
        case RunUri():
            return None, find_model(*artifacts_of_run(api, uri.run_id, uri.path, stores=stores))
        case VersionUri():
            version = api.version(uri.name, uri.version)
        case AliasUri():
            version = api.version(uri.name, api.version_of_alias(uri.name, uri.alias))
            log("resolved", model=uri.name, alias=uri.alias, version=version.number)
    check_ready(version, str(uri))
    return version, find_model(*artifacts_of(api, uri.name, version.number, stores=stores))


def _link(request: StorageRequest) -> None:
    """Link each file and directory at the model's root; a link that is there already is left alone."""
    names = {entry.name for entry in (request.model / MODEL_DIRECTORY).iterdir()}
    _check_names(request, names)
    for name in sorted(names, key=lambda name: name == MLMODEL):
        if not _is_own(request.directory / name):
            (request.directory / name).symlink_to(_target(name))
    sync_directory(request.directory)


def _check_names(request: StorageRequest, names: Iterable[str]) -> None:
    """Raise InvalidInputError if the directory holds something else under a name at the model's root."""
    for name in sorted(names):
        if name == STORE or (os.path.lexists(request.directory / name) and not _is_own(request.directory / name)):
            raise InvalidInputError(
                f"{request.directory} holds {shown(name)} already, which the model has too; give the model a directory"
                " of its own"
            )


def _is_own(link: Path) -> bool:
    """Return True for a link to the file or directory of the same name in the store."""
    return link.is_symlink() and str(link.readlink()) == _target(link.name)


def _target(name: str) -> str:
    return f"{STORE}/{MODEL}/{MODEL_DIRECTORY}/{name}"


def _unlink(request: StorageRequest) -> None:
    """Remove the links to the model of another URI, MLmodel first: a part of a model is never visible."""
    for link in sorted(request.directory.iterdir(), key=lambda link: link.name != MLMODEL):
        if _is_own(link):
            link.unlink()
