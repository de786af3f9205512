"""Brings one model version to its place in the store, whole or not at all."""

import os
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from model_contract.layout import run_directory
from model_contract.model_ref import ModelRef, shown
from model_contract.names import RUN_ID, TAG_DIGEST
from model_delivery.client import Client
from model_delivery.errors import DamagedError, NoSpaceError, PreconditionError
from model_delivery.inspection import read_manifest, size_faults
from model_delivery.log import log
from model_delivery.manifest import Manifest
from model_delivery.mlflow_api import MlflowApi, Version
from model_delivery.patience import Limits, Patience
from model_delivery.plan import Plan, check_space, make_plan
from model_delivery.progress import Progress, identity
from model_delivery.settings import Upstream
from model_delivery.source import artifacts_of
from model_delivery.store import Workplace, publish, store_error, workplace, write_manifest
from model_delivery.transfer import Transfer
from model_delivery.verify import check_project


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What to fetch, to where, within which bounds."""

    model: ModelRef
    store: Path
    project: str | None = None
    max_bytes: int | None = None
    parallel: int = 8
    limits: Limits = field(default_factory=Limits)

    @property
    def destination(self) -> Path:
        return self.store / run_directory(self.model.owner, self.model.run_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The model that is in place now, and whether this run brought it."""

    manifest: Manifest
    fetched: bool


def fetch(order: Order, upstream: Upstream) -> Outcome:
    """Raises a DeliveryError that says why the model is not in place. One that is there already costs no request."""
    patience = Patience(order.limits)
    try:
        if there := _there(order):
            return there
        with workplace(order.store, order.model.owner, order.model.run_id, patience) as place:
            return _there(order) or _deliver(order, upstream, place, patience)
    except OSError as error:
        raise store_error(error) from error


def _there(order: Order) -> Outcome | None:
    manifest = _intact(order.destination)
    if manifest is None or order.model not in manifest.models:
        return None
    check_project(manifest, order.project)
    return Outcome(manifest=manifest, fetched=False)


def _intact(destination: Path) -> Manifest | None:
    """The manifest of a model whose files have their sizes. Their digests were right before the rename, and reading
    them again at each start of a pod would take as long as the fetch; `verify --digests` does it on demand.
    """
    manifest = _readable(destination)
    return manifest if manifest and not any(size_faults(destination, manifest)) else None


def _readable(destination: Path) -> Manifest | None:
    try:
        return read_manifest(destination)
    except DamagedError:
        return None


def _deliver(order: Order, upstream: Upstream, place: Workplace, patience: Patience) -> Outcome:
    client = Client(
        upstream.uri, credential=upstream.credential, proxy=upstream.proxy, patience=patience, tls=upstream.tls
    )
    with closing(client):
        api = MlflowApi(client)
        version = _checked_version(api, order.model)
        plan = make_plan(*artifacts_of(api, order.model.name, order.model.version))
        if there := _intact(order.destination):
            return _registered_twice(order, there, plan, version)
        if order.destination.exists():
            log("what lies in the store is not whole, and is replaced", place=order.destination)
        check_space(plan, order.max_bytes)
        manifest = _transfer(order, plan, api, place, patience)
    try:
        _check_digest(manifest, version, _readable(order.destination))
    except PreconditionError:
        place.clear()
        raise
    publish(place, order.destination, manifest)
    return Outcome(manifest=manifest, fetched=True)


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


def _registered_twice(order: Order, there: Manifest, plan: Plan, version: Version) -> Outcome:
    """The same files may be several versions. Others of the same run have no room beside them: the place is named by
    the run.
    """
    if there.source != plan.source:
        held = f"version {there.models[0].version} of model {there.models[0].name!r}"
        raise PreconditionError(
            f"the store holds another model of the same run, {held}; give this one a volume of its own"
        )
    check_project(there, order.project)
    _check_digest(there, version, None)
    manifest = replace(there, models=(*there.models, order.model))
    write_manifest(order.destination, manifest)
    return Outcome(manifest=manifest, fetched=False)


def _transfer(order: Order, plan: Plan, api: MlflowApi, place: Workplace, patience: Patience) -> Manifest:
    log("fetching", source=plan.source, files=len(plan.files), bytes=plan.known_bytes)
    patience.expected = plan.known_bytes
    progress = _begin(place, plan)
    transfer = Transfer(
        api=api, plan=plan, place=place, progress=progress, patience=patience, max_bytes=order.max_bytes
    )
    try:
        for directory in plan.directories:
            (place.model / directory).mkdir(parents=True, exist_ok=True)
        files = transfer.run(parallel=order.parallel)
    except (OSError, NoSpaceError) as error:
        if isinstance(error, NoSpaceError) or isinstance(store_error(error), NoSpaceError):
            place.clear()
        raise
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return Manifest(
        models=(order.model,),
        source=plan.source,
        created=created,
        files=files,
        directories=plan.directories,
        project=order.project,
    )


def _begin(place: Workplace, plan: Plan) -> Progress:
    whole = identity(plan)
    progress = Progress.resume(place.progress, whole)
    if progress and place.model.is_dir():
        log("going on where an earlier run ended")
        os.utime(place.directory)
        return progress
    place.clear()
    place.model.mkdir(parents=True)
    return Progress.start(place.progress, whole)


def _check_digest(manifest: Manifest, version: Version, previous: Manifest | None) -> None:
    """Raises PreconditionError where the files are not those that the version, or an earlier delivery of them, was
    marked with.
    """
    if version.digest and version.digest != manifest.digest:
        raise PreconditionError(
            f"the files have the digest {manifest.digest}, and the version's tag {TAG_DIGEST} says"
            f" {shown(version.digest)}"
        )
    if previous and previous.source == manifest.source and previous.digest != manifest.digest:
        raise PreconditionError(
            f"the files have the digest {manifest.digest}, and had {previous.digest} when they were delivered before"
        )
