"""Fetch one model version into the store: all of its files, or nothing."""

from dataclasses import dataclass, field, replace
from pathlib import Path

from model_contract.layout import run_directory
from model_contract.model_ref import ModelRef
from model_contract.names import RUN_ID
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
from model_delivery.errors import PreconditionError
from model_delivery.file_checks import complete_manifest, readable_manifest
from model_delivery.listed_model import ListedModel, find_model
from model_delivery.log import log
from model_delivery.manifest import Manifest
from model_delivery.mlflow_api import MlflowApi, Version
from model_delivery.settings import Upstream
from model_delivery.source import artifacts_of
from model_delivery.store import PartialModel, partial_model, publish, store_error, write_manifest
from model_delivery.verify import check_project


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchRequest:
    """A model to fetch, the store that gets it, and the limits."""

    model: ModelRef
    store: Path
    project: str | None = None
    bounds: Bounds = field(default_factory=Bounds)

    @property
    def destination(self) -> Path:
        """The directory of the model's run in the store."""
        return self.store / run_directory(self.model.owner, self.model.run_id)


def fetch(request: FetchRequest, upstream: Upstream) -> FetchResult:
    """Fetch the model unless it is in the store, which is found without a request. Raises DeliveryError."""
    deadline = Deadline(request.bounds.limits)
    try:
        if present := _present(request):
            return present
        with partial_model(
            request.store, run_directory(request.model.owner, request.model.run_id), deadline
        ) as partial:
            return _present(request) or _download(request, upstream, partial, deadline)
    except OSError as error:
        raise store_error(error) from error


def _present(request: FetchRequest) -> FetchResult | None:
    manifest = complete_manifest(request.destination)
    if manifest is None or request.model not in manifest.models:
        return None
    check_project(manifest, request.project)
    return FetchResult(manifest=manifest, fetched=False)


def _download(request: FetchRequest, upstream: Upstream, partial: PartialModel, deadline: Deadline) -> FetchResult:
    with mlflow_artifacts(upstream, deadline) as (api, artifacts):
        version = _checked_version(api, request.model)
        with stopped_by_errors(api, deadline):
            name, number = request.model.name, request.model.version
            listed = find_model(*artifacts_of(api, name, number, stores=artifacts.stores))
        if stored := complete_manifest(request.destination):
            return _add_version(request, stored, listed, version)
        if request.destination.exists():
            log("the model in the store is incomplete, and is replaced", place=request.destination)
        files = download(listed, artifacts, partial, deadline, request.bounds)
    manifest = Manifest(
        models=(request.model,),
        source=listed.source,
        files=files,
        directories=listed.directories,
        project=request.project,
    )
    try:
        check_digest(manifest, version, readable_manifest(request.destination))
    except PreconditionError:
        partial.clear()
        raise
    if present := _present(request):  # of a run that was first: without locks, this one would replace a model in use
        partial.clear()
        return present
    publish(partial, request.destination, manifest)
    return FetchResult(manifest=manifest, fetched=True, way=artifacts.way)


def _checked_version(api: MlflowApi, model: ModelRef) -> Version:
    version = api.version(model.name, model.version)
    title = f"version {model.version} of model {model.name!r}"
    check_ready(version, title)
    if version.run_id and version.run_id != model.run_id:
        raise PreconditionError(
            f"{title} belongs to run {version.run_id}, not to {model.run_id}; set {RUN_ID} to the version's run"
        )
    return version


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
    check_digest(stored, version, None)
    manifest = replace(stored, models=(*stored.models, request.model))
    write_manifest(request.destination, manifest)
    return FetchResult(manifest=manifest, fetched=False)
