"""Rules of new objects: each gets the project of its creator, and a version has only files of the same project."""

from typing import Any, Final

from model_contract.names import PROJECT_HEADER, TAG_PROJECT_ID
from tracking_gate.actors import check_is_person
from tracking_gate.errors import AlreadyExists, Forbidden, InvalidRequest
from tracking_gate.mlflow_api.version_sources import NOT_OWNED, Source, resolve_source
from tracking_gate.policy.guarded_request import Approval, GuardedRequest, own_model
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS, PROJECT_TAG, check_tag

Json = dict[str, Any]
WITHOUT_PROJECT: Final = (
    "the run of the source has no project, as those of MLflow's default experiment: log the model again in an"
    " experiment of your project"
)
MAX_FACT: Final = 1000  # characters of a source in the audit log


async def create_model(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    name = request.fields["name"]
    if await request.registry.model(name):
        # MLflow's clients make the model before each version, without tags, and go on with this answer.
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    tags, project = tags_with_project(request)
    return Approval(body=request.fields | {"tags": tags}, facts={"project": project})


async def create_experiment(request: GuardedRequest) -> Approval:
    check_is_person(request.actor)
    if request.fields.get("artifact_location"):
        raise Forbidden("leave artifact_location out: the server chooses it, so that experiments do not share files")
    tags, project = tags_with_project(request)
    return Approval(body=request.fields | {"tags": tags}, facts={"project": project})


async def create_version(request: GuardedRequest) -> Approval:
    """Store the source as it was resolved, so that every client reads the directory that the gate protects."""
    check_is_person(request.actor)
    project = await own_model(request)
    source = await resolve_source(request.registry, request.fields["source"])
    if not request.actor.owns(source.project):
        raise Forbidden(NOT_OWNED if source.project is not None else WITHOUT_PROJECT)
    if source.project is not None and source.project != project:
        raise Forbidden(
            "the source is of another project than the model: log the model again in a run of the model's project"
        )
    lineage = {key: await lineage_of(request, source, key) for key in ("run_id", "model_id")}
    owner = [{"key": TAG_PROJECT_ID, "value": project}] if project else []
    body = (
        request.fields
        | {"source": source.uri, "tags": [*tags_without_owner(request), *owner]}
        | {key: value for key, value in lineage.items() if value}
    )
    return Approval(body=body, facts={"project": project, "source": source.uri[:MAX_FACT]})


async def lineage_of(request: GuardedRequest, source: Source, key: str) -> str | None:
    """Return the version's `run_id` or `model_id`: that of the source, else one of the same project.

    Raises InvalidRequest if the source has another, Forbidden if the run is of another project.
    """
    given, own = request.fields.get(key) or None, source.run_id if key == "run_id" else source.model_id
    if given is None or given == own:
        return own
    if own is not None or key == "model_id":
        raise InvalidRequest(f"{key} is another one than that of the source; leave it out")
    run = await request.registry.raw_run(given)
    project = await request.registry.project_of_run(run) if run else None
    if not request.actor.owns(project) or (project is not None and project != source.project):
        raise Forbidden(NOT_OWNED)
    return str(given)


def tags_with_project(request: GuardedRequest) -> tuple[list[Json], str]:
    """Return the tags of a new object, and its project: tag > header > the only project of the person."""
    tags: list[Json] = request.fields.get("tags", [])
    named = next((tag["value"] for tag in tags if tag["key"] == TAG_PROJECT_ID), request.new_project)
    if named is not None and not request.actor.owns(named):
        raise Forbidden(f"the tag {TAG_PROJECT_ID} or the header {PROJECT_HEADER} names a project that is not yours")
    if named is None:
        if len(request.actor.projects) != 1:
            raise InvalidRequest(
                f"the project is missing: name one of yours in the tag {TAG_PROJECT_ID} or the header {PROJECT_HEADER}"
            )
        named = request.actor.project
    return [*tags_without_owner(request), {"key": TAG_PROJECT_ID, "value": named}], named


def tags_without_owner(request: GuardedRequest) -> list[Json]:
    """Return the tags of a new object without the one that the gate writes.

    Domino's clients send other tags of ownership, which pass through and decide nothing.
    """
    tags = [tag for tag in request.fields.get("tags", []) if tag["key"] != TAG_PROJECT_ID]
    for tag in tags:
        if PROJECT_TAG.found(tag["key"]):
            raise Forbidden(f"write the tag {TAG_PROJECT_ID} as it is")
        if not OWNERSHIP_TAGS.found(tag["key"]):
            check_tag(request.actor, tag["key"])
    return tags
