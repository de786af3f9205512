"""Checks of a version before anything is made of it, and the spec of its model API."""

from dataclasses import dataclass

from model_contract.model_ref import ModelRef
from model_lifecycle.domino.model_apis import ModelApiSpec
from model_lifecycle.errors import InvalidError, NotFoundError, PreconditionError
from model_lifecycle.registry import Model, Registry, Version
from model_lifecycle.stages import PRODUCTION, PRODUCTION_ALIAS, READY
from model_lifecycle.staging.request import StageRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class StageableVersion:
    """A version that can be staged, with its model and project."""

    ref: ModelRef
    version: Version
    model: Model
    project_id: str


def stageable_version(request: StageRequest, registry: Registry) -> StageableVersion:
    """Return the version. Raises LifecycleError if it is not there, not ready, or another project's."""
    model = registry.model(request.name)
    version = model.version(request.version)
    if version is None:
        raise NotFoundError(f"{request.name!r} has no version {request.version}")
    title = title_of(version)
    if version.status != READY:
        raise PreconditionError(f"{title} is {version.status}, not {READY}: register it again")
    if version.stage == PRODUCTION or model.aliases.get(PRODUCTION_ALIAS) == version.version:
        raise PreconditionError(f"{title} is in Production: it was staged before, and stays as it is")
    if registry.has_deleted_run(version):
        raise PreconditionError(
            f"the run of {title} was deleted, and `mlflow gc` would remove the version's files: restore the run first"
        )
    ref = model.reference(version, owner=request.owner, user=request.user)
    return StageableVersion(ref=ref, version=version, model=model, project_id=_project(request, model, version))


def spec_of(stageable: StageableVersion, environment_id: str) -> ModelApiSpec:
    """Return the spec of the version's own model API.

    Variables belong to a model API, and reach all of its versions.
    """
    ref = stageable.ref
    if not environment_id:
        raise InvalidError(
            "the environment of the model API is not known: set DOMINO_ENVIRONMENT_ID, or name it with --env-id"
        )
    return ModelApiSpec(
        name=f"{ref.name}-v{ref.version}",
        description=f"{ref.name} version {ref.version}, run {ref.run_id}",
        project_id=stageable.project_id,
        environment_id=environment_id,
        variables=ref.variables(),
    )


def title_of(version: Version) -> str:
    return f"{version.name!r} version {version.version}"


def _project(request: StageRequest, model: Model, version: Version) -> str:
    """Return the project: the registry's > the caller's. Raises PreconditionError if the two differ."""
    tagged = model.project_of(version)
    if tagged and request.project_id and tagged != request.project_id:
        raise PreconditionError(
            f"{title_of(version)} is of project {tagged}, and not of {request.project_id} (DOMINO_PROJECT_ID)"
        )
    if not (project := tagged or request.project_id):
        raise PreconditionError(
            f"{title_of(version)} has no project: set DOMINO_PROJECT_ID, or an admin runs `model-api backfill`"
        )
    return project
