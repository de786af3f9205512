"""Rules of promotion: moves between stages, and aliases."""

from typing import Final

from model_contract.names import PROMOTION_ID
from tracking_gate.actors import ActorKind, check_may_promote
from tracking_gate.errors import Conflict, InvalidRequest
from tracking_gate.mlflow_api.artifact_locations import location_of, model_id_in, run_id_in
from tracking_gate.mlflow_api.registry_objects import ACTIVE_STAGES, Version
from tracking_gate.policy.guarded_request import (
    Approval,
    GuardedRequest,
    check_owns_version,
    own_model,
    own_version_and_others,
)
from tracking_gate.policy.protected_names import ProtectedNames

STAGING: Final = "Staging"
PRODUCTION: Final = "Production"
DELETED: Final = "deleted"  # MLflow's lifecycle_stage of a run
READY: Final = "READY"
NO_VERSION: Final = "none"  # in the header, if the client believes that no version is in Production
PROTECTED_ALIASES: Final = ProtectedNames(("production",))


async def transition_stage(request: GuardedRequest) -> Approval:
    if request.actor.kind is ActorKind.PULL:
        check_may_promote(request.actor, "moving a version")
    version, others = await own_version_and_others(request)
    stage, archives = request.fields["stage"], request.fields.get("archive_existing_versions", False)
    archived = sorted(other.version for other in others if archives and other.stage == stage)
    facts = {"from_stage": version.stage, "to_stage": stage, "archived": archived}
    if PRODUCTION in {stage, version.stage}:
        check_may_promote(request.actor, "moving a version into or out of Production")
    if archives and stage not in ACTIVE_STAGES:
        raise InvalidRequest("archive_existing_versions is for the stages Staging and Production only")
    check_expected(request.expected_production, [one for one in (version, *others) if one.stage == PRODUCTION])
    if stage == version.stage and not archived:
        return Approval(body=request.fields, noop=True, facts=facts)
    check_movable(version, stage)
    if stage == STAGING:
        await check_files_are_kept(request, version)
    return Approval(body=request.fields, promotes=stage in ACTIVE_STAGES, facts=facts)


def check_expected(expected: str | None, production: list[Version]) -> None:
    """Raise Conflict if another promotion has changed the version in Production since this one was planned."""
    if expected is None:
        return
    now = max((int(version.version) for version in production), default=None)
    if expected != (NO_VERSION if now is None else str(now)):
        raise Conflict(f"Production is version {now or NO_VERSION} now, not {expected[:20]}")


def check_movable(version: Version, stage: str) -> None:
    if version.status != READY:
        raise Conflict(f"version {version.version} is {version.status}, not {READY}")
    was_promoted = version.stage == "Archived" and PROMOTION_ID in version.tags
    if stage == PRODUCTION and version.stage not in ACTIVE_STAGES and not was_promoted:
        raise Conflict(
            f"version {version.version} is in stage {version.stage}; only one in Staging, or one that was in"
            " Production, goes there"
        )


async def check_files_are_kept(request: GuardedRequest, version: Version) -> None:
    """Raise Conflict if the version's run or logged model was deleted: `mlflow gc` would remove the version's files.

    A move into Production is not held up by that, since it may be a rollback.
    """
    registry = request.registry
    # MLflow answers no `model_id` for a version; the place of its files has it.
    uri = await registry.download_uri(version.name, version.version)
    location = location_of(uri or version.source) or ""
    run_of_place = run_id_in(location)
    for run_id in filter(None, {version.run_id, run_of_place}):
        run = await registry.raw_run(run_id)
        if run and run["run"]["info"].get("lifecycle_stage") == DELETED:
            raise Conflict(
                f"the run of version {version.version} was deleted, and `mlflow gc` would remove the version's files:"
                " restore the run first"
            )
    model_id = version.model_id or (None if run_of_place else model_id_in(location))
    if model_id and await registry.logged_model(model_id) is None:
        raise Conflict(
            f"the logged model of version {version.version} was deleted, and `mlflow gc` would remove the version's"
            " files: log the model again, and register that"
        )


async def set_alias(request: GuardedRequest) -> Approval:
    await check_owns_version(request)
    check_alias(request)
    return Approval(body=request.fields, promotes=True, facts={"alias": request.fields["alias"]})


async def delete_alias(request: GuardedRequest) -> Approval:
    await own_model(request)
    check_alias(request)
    return Approval(body=request.fields, facts={"alias": request.fields["alias"]})


def check_alias(request: GuardedRequest) -> None:
    if request.actor.kind is ActorKind.PULL or PROTECTED_ALIASES.found(request.fields["alias"]):
        check_may_promote(request.actor, f"the alias {request.fields['alias']}")
