"""Keep a shared store in step with Staging and Production of several projects, while pods read it.

A model is fetched as `fetch` does it: one rename, and never again while it is whole. A model is removed if its manifest
names a project that could be read, no sync of the grace saw a version of it promoted, and no workload names its run.
"""

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import ContractError
from model_delivery.deadline import Deadline
from model_delivery.download import Bounds, mlflow_artifacts
from model_delivery.errors import DeliveryError, NotFoundError, PreconditionError
from model_delivery.fetch import FetchRequest, fetch
from model_delivery.log import log
from model_delivery.promoted import PromotedVersion, promoted_of_model, promoted_of_project
from model_delivery.retention import StoredModel, remove_unfinished, stored_models
from model_delivery.settings import Upstream
from model_delivery.store import store_error

Used = Callable[[Collection[str]], set[str]]  # returns those of some run ids that a workload names


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """A project, and MLflow with the credential that reads it; `fault` says why there is no such credential."""

    id: str
    upstream: Upstream
    fault: DeliveryError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncRequest:
    """The store to fill, and the rules. `owner` is that of models without a user.

    `used` is None if a model is removed after the grace although a workload may still name it.
    """

    store: Path
    grace: timedelta
    owner: str | None = None
    used: Used | None = None
    bounds: Bounds = field(default_factory=Bounds)


@dataclass(slots=True, kw_only=True)
class SyncResult:
    """Counts of models. `waiting` are in the grace, `used` past it and named by a workload; `unread` are projects.

    `moved` were moved or deleted between the listing and their fetch.
    """

    promoted: int = 0
    present: int = 0
    fetched: int = 0
    bytes: int = 0
    moved: int = 0
    waiting: int = 0
    used: int = 0
    removed: int = 0
    failed: int = 0
    unread: list[str] = field(default_factory=list)
    codes: list[ExitCode] = field(default_factory=list)

    def fail(self, subject: str, error: DeliveryError | ContractError) -> None:
        log(f"failed: {subject}", reason=error, exit=int(error.exit_code))
        self.codes.append(error.exit_code)

    @property
    def code(self) -> ExitCode:
        """The exit code of the run: the failures' own if they have one and nothing else was done, else PARTIAL."""
        if not self.codes:
            return ExitCode.DONE
        done = self.present or self.fetched or self.removed
        return self.codes[0] if not done and len(set(self.codes)) == 1 else ExitCode.PARTIAL


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """A project that could be read, and its promoted versions."""

    project: Project
    versions: tuple[PromotedVersion, ...]


def sync(request: SyncRequest, projects: Sequence[Project]) -> SyncResult:
    """Remove what has been in neither stage for the grace, then fetch what is missing. Raises DeliveryError."""
    result = SyncResult()
    listed = [found for project in projects if (found := _listed(project, request, result))]
    try:
        remove_unfinished(request.store)
    except OSError as error:
        raise store_error(error) from error
    _remove_expired(request, listed, result)
    for found in listed:
        for version in found.versions:
            _fetch(request, found.project, version, result)
    return result


def _listed(project: Project, request: SyncRequest, result: SyncResult) -> Listed | None:
    """Return the project's promoted versions; None if they cannot be read: its models stay as they are."""
    try:
        if project.fault:
            raise project.fault
        versions = _promoted(project, Deadline(request.bounds.limits))
    except DeliveryError as error:
        result.fail(f"project {project.id} cannot be read, and its models stay as they are", error)
        result.unread.append(project.id)
        return None
    result.promoted += len(versions)
    return Listed(project=project, versions=versions)


def _remove_expired(request: SyncRequest, listed: Sequence[Listed], result: SyncResult) -> None:
    now = datetime.now(UTC)
    of_project = {found.project.id: found for found in listed}
    expired: list[StoredModel] = []
    for model in stored_models(request.store):
        if found := of_project.get(model.manifest.project or ""):
            with _each(model, result):
                if _is_promoted(model, found.versions):
                    model.unmark()
                elif model.mark(now) + request.grace > now:
                    result.waiting += 1
                else:
                    expired.append(model)
    used = _used(request, expired, result)
    for model in expired:
        if model.run_id in used:
            result.used += 1
        else:
            _remove(request, model, of_project[model.manifest.project or ""].project, result)


def _used(request: SyncRequest, expired: Sequence[StoredModel], result: SyncResult) -> set[str]:
    """Return the runs that a workload names, by one request for all; all of them if the workloads cannot be read."""
    runs = {model.run_id for model in expired}
    if not runs or request.used is None:
        return set()
    try:
        return request.used(runs)
    except DeliveryError as error:
        result.fail("no model is removed, because the workloads cannot be read", error)
        return runs


def _remove(request: SyncRequest, model: StoredModel, project: Project, result: SyncResult) -> None:
    """Remove a model, unless one of its versions was promoted since the listing."""
    deadline = Deadline(request.bounds.limits)
    with _each(model, result), model.locked(deadline):
        if _is_promoted(model, _promoted(project, deadline)):
            model.unmark()
            return
        log("removing a model that is in neither stage", place=model.place, since=model.marked())
        model.remove()
        result.removed += 1


@contextmanager
def _each(model: StoredModel, result: SyncResult) -> Iterator[None]:
    """Make an error of the block a failure of this model: the others are marked and removed nevertheless."""
    try:
        yield
    except DeliveryError as error:
        result.fail(f"{model.place} is not marked or removed", error)
    except OSError as error:
        result.fail(f"{model.place} is not marked or removed", store_error(error))


def _promoted(project: Project, deadline: Deadline) -> tuple[PromotedVersion, ...]:
    with mlflow_artifacts(project.upstream, deadline) as (api, _):
        return tuple(promoted_of_project(api, project.id))


def _is_promoted(model: StoredModel, versions: Sequence[PromotedVersion]) -> bool:
    """Return True if a promoted version has these files: the manifest names it, or it is of the same run."""
    named, run_id = {(ref.name, ref.version) for ref in model.manifest.models}, model.run_id
    return any(found.run_id == run_id or (found.name, found.version) in named for found in versions)


def _fetch(request: SyncRequest, project: Project, version: PromotedVersion, result: SyncResult) -> None:
    began = time.monotonic()
    try:
        model = FetchRequest(
            model=version.ref(request.owner), store=request.store, project=project.id, bounds=request.bounds
        )
        found = fetch(model, project.upstream)
    except (DeliveryError, ContractError) as error:
        if isinstance(error, NotFoundError | PreconditionError) and _has_moved(request, project, version):
            log(f"{version.title} was moved or deleted since the listing", project=project.id)
            result.moved += 1
            return
        result.fail(f"{version.title} of project {project.id}", error)
        result.failed += 1
        return
    if not found.fetched:
        result.present += 1
        return
    result.fetched += 1
    result.bytes += found.manifest.total_bytes
    log("fetched", model=version.name, version=version.version, seconds=f"{time.monotonic() - began:.2f}")


def _has_moved(request: SyncRequest, project: Project, version: PromotedVersion) -> bool:
    try:
        with mlflow_artifacts(project.upstream, Deadline(request.bounds.limits)) as (api, _):
            now = tuple(promoted_of_model(api, api.registered_model(version.name)))
    except DeliveryError:
        return False
    return version not in now
