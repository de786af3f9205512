"""Rules of updates, renames and deletions, and of lookups that MLflow's clients send as a POST."""

from tracking_gate.actors import check_is_person, check_may_change, not_found, not_owned
from tracking_gate.errors import Conflict, Forbidden
from tracking_gate.mlflow_api.artifact_locations import UNPROTECTED, location_of, overlap
from tracking_gate.mlflow_api.registry_objects import ACTIVE_STAGES, experiment_id_of_run, location_of_run
from tracking_gate.mlflow_api.version_sources import promoted_locations
from tracking_gate.policy.guarded_request import (
    Approval,
    GuardedRequest,
    changeable_experiment,
    own_model,
    own_version,
)


async def update_object(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    await (own_version(request) if "version" in request.fields else own_model(request))
    return Approval(body=request.fields)


async def rename_model(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    await own_model(request)
    await check_none_promoted(request)
    if await request.registry.model(request.fields["new_name"]):
        raise Conflict("a model with the new name exists already")
    return Approval(body=request.fields)


async def delete_model(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    await own_model(request)
    await check_none_promoted(request)
    return Approval(body=request.fields)


async def check_none_promoted(request: GuardedRequest) -> None:
    name = request.fields["name"]
    model = await request.registry.model(name)
    if promoted := [
        version.version for version in await request.registry.versions_of(name) if version.stage in ACTIVE_STAGES
    ]:
        raise Conflict(f"version {promoted[0]} is in Staging or Production; archive it first")
    if model and model.aliases:
        raise Conflict(
            f"the alias {next(iter(model.aliases))} points to a version of this model; delete the alias first"
        )


async def delete_version(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    version = await own_version(request)
    if version.stage in ACTIVE_STAGES or version.aliases:
        raise Conflict(
            f"version {version.version} is in {version.stage}"
            + (f", alias {version.aliases[0]}" if version.aliases else "")
        )
    return Approval(body=request.fields)


async def delete_experiment(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    experiment = await changeable_experiment(request)
    for location, version in (await promoted_locations(request.registry)).items():
        run = await request.registry.raw_run(version.run_id) if version.run_id else None
        if (experiment.location is not None and overlap(experiment.location, location)) or (
            run and experiment_id_of_run(run) == experiment.id
        ):
            raise Conflict(
                f"version {version.version} of {version.name} is promoted, and its files are of this experiment"
            )
    return Approval(body=request.fields)


async def delete_run(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    run = await request.registry.raw_run(request.fields["run_id"])
    if run is None:
        raise not_found(request.actor, "run")
    check_may_change(request.actor, await request.registry.project_of_run(run))
    root, run_id = location_of_run(run), run["run"]["info"]["run_id"]
    for location, version in (await promoted_locations(request.registry)).items():
        if version.run_id == run_id or (root is not None and overlap(root, location)):
            raise Conflict(f"version {version.version} of {version.name} is promoted, and its files are of this run")
    return Approval(body=request.fields)


async def delete_logged_model(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    info = await request.registry.logged_model(request.fields["model_id"])
    if info is None:
        raise not_found(request.actor, "logged model")
    check_may_change(request.actor, await request.registry.project_of_logged_model(info))
    if (root := location_of(info["artifact_uri"])) is None:
        raise Forbidden(UNPROTECTED)
    for location, version in (await promoted_locations(request.registry)).items():
        if version.model_id == info["model_id"] or overlap(root, location):
            raise Conflict(f"version {version.version} of {version.name} is promoted; its files do not change")
    return Approval(body=request.fields)


async def search_logged_models(request: GuardedRequest) -> Approval:
    """Let a token search experiments of its project only."""
    if request.actor.is_token:
        experiments = request.fields.get("experiment_ids", [])
        projects = [await request.registry.project_of_experiment(experiment) for experiment in experiments]
        if not projects or not all(request.actor.owns(project) for project in projects):
            raise not_owned(request.actor)
    return Approval(body=request.fields)


async def latest_versions(request: GuardedRequest) -> Approval:
    if request.actor.is_token:
        await own_model(request)
    return Approval(body=request.fields)
