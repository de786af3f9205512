"""Fetch one model version into the store: all of its files, or nothing."""

import os
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from model_contract.layout import run_directory
from model_contract.model_ref import ModelRef, shown
from model_contract.names import RUN_ID, TAG_DIGEST
from model_delivery.client import Client
from model_delivery.deadline import Deadline, Limits
from model_delivery.errors import DamagedError, NoSpaceError, PreconditionError
from model_delivery.file_checks import read_manifest, size_faults
from model_delivery.listed_model import ListedModel, check_space, find_model
from model_delivery.log import log
from model_delivery.manifest import Manifest
from model_delivery.mlflow_api import MlflowApi, Version
from model_delivery.progress import Progress, fingerprint
from model_delivery.settings import Upstream
from model_delivery.source import artifacts_of
from model_delivery.store import PartialModel, partial_model, publish, store_error, write_manifest
from model_delivery.transfer import Transfer
from model_delivery.verify import check_project


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """A model to fetch, the store that gets it, and the limits."""

    model: ModelRef
    store: Path
    project: str | None = None
    max_bytes: int | None = None
    parallel: int = 8
    limits: Limits = field(default_factory=Limits)

    @property
    def destination(self) -> Path:
        """The directory of the model's run in the store."""
        return self.store / run_directory(self.model.owner, self.model.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchResult:
    """The model that is in the store now; `fetched` is False if it was there before."""

    manifest: Manifest
    fetched: bool


def fetch(request: FetchRequest, upstream: Upstream) -> FetchResult:
    """Fetch the model unless it is in the store, which is found without a request. Raises DeliveryError."""
    deadline = Deadline(request.limits)
    try:
        if present := _present(request):
            return present
        with partial_model(request.store, request.model.owner, request.model.run_id, deadline) as partial:
            return _present(request) or _download(request, upstream, partial, deadline)
    except OSError as error:
        raise store_error(error) from error


def _present(request: FetchRequest) -> FetchResult | None:
    manifest = _complete(request.destination)
    if manifest is None or request.model not in manifest.models:
        return None
    check_project(manifest, request.project)
    return FetchResult(manifest=manifest, fetched=False)


def _complete(destination: Path) -> Manifest | None:
    """Return the manifest of a model whose files have their sizes; None if there is no such model.

    Their digests were right before the rename. To read them again at each start of a pod would take as long as the
    fetch; `verify --digests` does it on demand.
    """
    manifest = _readable(destination)
    return manifest if manifest and not any(size_faults(destination, manifest)) else None


def _readable(destination: Path) -> Manifest | None:
    try:
        return read_manifest(destination)
    except DamagedError:
        return None


def _download(request: FetchRequest, upstream: Upstream, partial: PartialModel, deadline: Deadline) -> FetchResult:
    client = Client(
        upstream.uri, credential=upstream.credential, proxy=upstream.proxy, deadline=deadline, tls=upstream.tls
    )
    with closing(client):
        api = MlflowApi(client)
        version = _checked_version(api, request.model)
        listed = _listed(api, request.model, deadline)
        if stored := _complete(request.destination):
            return _add_version(request, stored, listed, version)
        if request.destination.exists():
            log("the model in the store is incomplete, and is replaced", place=request.destination)
        check_space(listed, request.max_bytes)
        manifest = _transfer(request, listed, api, partial, deadline)
    try:
        _check_digest(manifest, version, _readable(request.destination))
    except PreconditionError:
        partial.clear()
        raise
    publish(partial, request.destination, manifest)
    return FetchResult(manifest=manifest, fetched=True)


def _checked_version(api: MlflowApi, model: ModelRef) -> Version:
    version = api.version(model.name, model.version)
    said = f"version {model.version} of model {model.name!r}"
    if version.status != "READY":
        raise PreconditionError(
            f"{said} is {version.status}, not READY; wait for its registration, or register it again"
        )
    if version.run_id and version.run_id != model.run_id:
        raise PreconditionError(
            f"{said} belongs to run {version.run_id}, not to {model.run_id}; set {RUN_ID} to the version's run"
        )
    return version


def _listed(api: MlflowApi, model: ModelRef, deadline: Deadline) -> ListedModel:
    try:
        return find_model(*artifacts_of(api, model.name, model.version))
    except BaseException:
        deadline.stop()
        api.abort()  # other directories may be listed at the moment
        raise


def _add_version(request: FetchRequest, stored: Manifest, listed: ListedModel, version: Version) -> FetchResult:
    """Add the version to the manifest of the same files, which may be registered as several versions.

    Raises PreconditionError for other files of the same run: a store has one directory for each run.
    """
    if stored.source != listed.source:
        held = f"version {stored.models[0].version} of model {stored.models[0].name!r}"
        raise PreconditionError(
            f"the store holds another model of the same run, {held}; give this one a volume of its own"
        )
    check_project(stored, request.project)
    _check_digest(stored, version, None)
    manifest = replace(stored, models=(*stored.models, request.model))
    write_manifest(request.destination, manifest)
    return FetchResult(manifest=manifest, fetched=False)


def _transfer(
    request: FetchRequest, listed: ListedModel, api: MlflowApi, partial: PartialModel, deadline: Deadline
) -> Manifest:
    log("fetching", source=listed.source, files=len(listed.files), bytes=listed.known_bytes)
    deadline.expected = listed.known_bytes
    transfer = Transfer(
        api=api,
        listed=listed,
        partial=partial,
        progress=_begin(partial, listed),
        deadline=deadline,
        max_bytes=request.max_bytes,
        parallel=request.parallel,
    )
    try:
        for directory in listed.directories:
            (partial.model / directory).mkdir(parents=True, exist_ok=True)
        files = transfer.run()
    except (OSError, NoSpaceError) as error:
        if isinstance(error, NoSpaceError) or isinstance(store_error(error), NoSpaceError):
            partial.clear()
        raise
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(
        models=(request.model,),
        source=listed.source,
        created=created,
        files=files,
        directories=listed.directories,
        project=request.project,
    )


def _begin(partial: PartialModel, listed: ListedModel) -> Progress:
    """Return the progress of an earlier run of the same files, or an empty one in an empty directory."""
    files = fingerprint(listed)
    progress = Progress.resume(partial.progress, files)
    if progress and partial.model.is_dir():
        log("going on where an earlier run ended")
        os.utime(partial.directory)
        return progress
    partial.clear()
    partial.model.mkdir(parents=True)
    return Progress.start(partial.progress, files)


def _check_digest(manifest: Manifest, version: Version, previous: Manifest | None) -> None:
    """Raise PreconditionError if the version's tag, or an earlier delivery of these files, has another digest."""
    if version.digest and version.digest != manifest.digest:
        raise PreconditionError(
            f"the files have the digest {manifest.digest}, and the version's tag {TAG_DIGEST} says"
            f" {shown(version.digest)}: they changed after the version was staged; register them as a new version"
        )
    if previous and previous.source == manifest.source and previous.digest != manifest.digest:
        raise PreconditionError(
            f"the files have the digest {manifest.digest}, and had {previous.digest} when they were delivered before;"
            " register the changed files as a new version"
        )
