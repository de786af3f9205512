"""The rules of guarded operations: one function each, from who asks and what is asked to what is forwarded. They raise
a Refusal.

They only read, so that the decision can be explained without anything being done. What they read is read under the
model's lock.
"""

from typing import Final

from model_contract.names import PROMOTION_ID
from tracking_gate.actors import ActorKind
from tracking_gate.errors import Conflict, InvalidRequest
from tracking_gate.mlflow_api.artifact_locations import overlap, proxied_location
from tracking_gate.mlflow_api.registry import ACTIVE, Version, experiment_of
from tracking_gate.mlflow_api.version_sources import promoted_locations
from tracking_gate.policy.guarded_request import (
    Approval,
    GuardedRequest,
    changeable_experiment,
    check_owns_version,
    own_model,
    own_version,
    own_version_and_others,
)
from tracking_gate.rights import check_changeable, check_is_person, check_may_promote, not_found, not_owned

PRODUCTION: Final = "Production"
READY: Final = "READY"
NO_VERSION: Final = "none"  # in the header of who expects that nothing is in Production
PROTECTED_ALIASES: Final = frozenset({"production"})


async def transition_stage(ask: GuardedRequest) -> Approval:
    if ask.actor.kind is ActorKind.PULL:
        check_may_promote(ask.actor, "moving a version")
    version, others = await own_version_and_others(ask)
    stage, archives = ask.fields["stage"], ask.fields.get("archive_existing_versions", False)
    archived = sorted(other.version for other in others if archives and other.stage == stage)
    facts = {"from_stage": version.stage, "to_stage": stage, "archived": archived}
    if PRODUCTION in {stage, version.stage}:
        check_may_promote(ask.actor, "moving a version into or out of Production")
    if archives and stage not in ACTIVE:
        raise InvalidRequest("archive_existing_versions goes with Staging and Production only")
    check_expected(ask.expected, [one for one in (version, *others) if one.stage == PRODUCTION])
    if stage == version.stage and not archived:
        return Approval(body=ask.fields, noop=True, facts=facts)
    check_movable(version, stage)
    return Approval(body=ask.fields, facts=facts)


def check_expected(expected: str | None, production: list[Version]) -> None:
    """Two promotions at once: the second one sees another version than it has planned with."""
    if expected is None:
        return
    now = max((int(version.version) for version in production), default=None)
    if expected != (NO_VERSION if now is None else str(now)):
        raise Conflict(f"Production is version {now or NO_VERSION} now, not {expected[:20]}")


def check_movable(version: Version, stage: str) -> None:
    if version.status != READY:
        raise Conflict(f"version {version.version} is {version.status}, not {READY}")
    was_promoted = version.stage == "Archived" and PROMOTION_ID in version.tags
    if stage == PRODUCTION and version.stage not in ACTIVE and not was_promoted:
        raise Conflict(
            f"version {version.version} is in stage {version.stage}; only one in Staging, or one that was in"
            " Production, goes there"
        )


async def set_alias(ask: GuardedRequest) -> Approval:
    await check_owns_version(ask)
    check_alias(ask)
    return Approval(body=ask.fields, facts={"alias": ask.fields["alias"]})


async def delete_alias(ask: GuardedRequest) -> Approval:
    await own_model(ask)
    check_alias(ask)
    return Approval(body=ask.fields, facts={"alias": ask.fields["alias"]})


def check_alias(ask: GuardedRequest) -> None:
    if ask.actor.kind is ActorKind.PULL or ask.fields["alias"].casefold() in PROTECTED_ALIASES:
        check_may_promote(ask.actor, f"the alias {ask.fields['alias']}")


async def update_object(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    await (own_version(ask) if "version" in ask.fields else own_model(ask))
    return Approval(body=ask.fields)


async def rename_model(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    await own_model(ask)
    await check_none_promoted(ask)
    if await ask.registry.model(ask.fields["new_name"]):
        raise Conflict("the new name is taken")
    return Approval(body=ask.fields)


async def delete_model(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    await own_model(ask)
    await check_none_promoted(ask)
    return Approval(body=ask.fields)


async def check_none_promoted(ask: GuardedRequest) -> None:
    name = ask.fields["name"]
    model = await ask.registry.model(name)
    if promoted := [version.version for version in await ask.registry.versions_of(name) if version.stage in ACTIVE]:
        raise Conflict(f"version {promoted[0]} is in Staging or Production")
    if model and model.aliases:
        raise Conflict(f"the alias {next(iter(model.aliases))} means a version of this model")


async def delete_version(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    version = await own_version(ask)
    if version.stage in ACTIVE or version.aliases:
        raise Conflict(
            f"version {version.version} is in {version.stage}"
            + (f", alias {version.aliases[0]}" if version.aliases else "")
        )
    return Approval(body=ask.fields)


async def delete_experiment(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    experiment = await changeable_experiment(ask)
    for location, version in (await promoted_locations(ask.registry)).items():
        run = await ask.registry.raw_run(version.run_id) if version.run_id else None
        if (experiment.location is not None and overlap(experiment.location, location)) or (
            run and experiment_of(run) == experiment.id
        ):
            raise Conflict(
                f"version {version.version} of {version.name} is promoted, and its files are of this experiment"
            )
    return Approval(body=ask.fields)


async def delete_run(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    run = await ask.registry.raw_run(ask.fields["run_id"])
    if run is None:
        raise not_found(ask.actor, "run")
    check_changeable(ask.actor, await ask.registry.project_of_raw_run(run))
    root, run_id = proxied_location(run["run"]["info"].get("artifact_uri", "")), run["run"]["info"]["run_id"]
    for location, version in (await promoted_locations(ask.registry)).items():
        if version.run_id == run_id or (root is not None and overlap(root, location)):
            raise Conflict(f"version {version.version} of {version.name} is promoted, and is of this run")
    return Approval(body=ask.fields)


async def search_logged_models(ask: GuardedRequest) -> Approval:
    """A token sees its own project's, or nothing."""
    if ask.actor.is_token:
        experiments = ask.fields.get("experiment_ids", [])
        projects = [await ask.registry.project_of_experiment(experiment) for experiment in experiments]
        if not projects or not all(ask.actor.owns(project) for project in projects):
            raise not_owned(ask.actor)
    return Approval(body=ask.fields)


async def latest_versions(ask: GuardedRequest) -> Approval:
    if ask.actor.is_token:
        await own_model(ask)
    return Approval(body=ask.fields)
