"""Rules of new objects: they get the project of who makes them, and a version is made of nothing that is not its
maker's.
"""

from typing import Any, Final

from model_contract.names import PROJECT_HEADER, TAG_PROJECT_ID
from tracking_gate.errors import AlreadyExists, Forbidden, InvalidRequest
from tracking_gate.mlflow_api.version_sources import NOT_OWNED, Source, resolve_source
from tracking_gate.policy.guarded_request import Approval, GuardedRequest, own_model
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS, check_tag
from tracking_gate.rights import check_is_person

Json = dict[str, Any]
LONGEST_FACT: Final = 1000  # characters of a source in the audit log


async def create_model(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    name = ask.fields["name"]
    if await ask.registry.model(name):
        # MLflow's clients make the model before each version, without tags, and go on with this answer.
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    tags, project = tags_with_project(ask)
    return Approval(body=ask.fields | {"tags": tags}, facts={"project": project})


async def create_experiment(ask: GuardedRequest) -> Approval:
    check_is_person(ask.actor)
    if ask.fields.get("artifact_location"):
        raise Forbidden("artifact_location lets an experiment write where others do; the server chooses it")
    tags, project = tags_with_project(ask)
    return Approval(body=ask.fields | {"tags": tags}, facts={"project": project})


async def create_version(ask: GuardedRequest) -> Approval:
    """The source is stored as it was resolved, so that every client reads the directory that the gate protects."""
    check_is_person(ask.actor)
    project = await own_model(ask)
    source = await resolve_source(ask.registry, ask.fields["source"])
    if not ask.actor.owns(source.project):
        raise Forbidden(NOT_OWNED)
    if source.project is not None and source.project != project:
        raise Forbidden(
            "the source is of another project than the model: log the model again in a run of the model's project"
        )
    lineage = {key: await lineage_of(ask, source, key) for key in ("run_id", "model_id")}
    owner = [{"key": TAG_PROJECT_ID, "value": project}] if project else []
    body = (
        ask.fields
        | {"source": source.uri, "tags": [*tags_without_owner(ask), *owner]}
        | {key: value for key, value in lineage.items() if value}
    )
    return Approval(body=body, facts={"project": project, "source": source.uri[:LONGEST_FACT]})


async def lineage_of(ask: GuardedRequest, source: Source, key: str) -> str | None:
    """Return the run or the logged model that the version says it is of: the one that the source is of, or else one of
    the project.
    """
    given, own = ask.fields.get(key) or None, source.run_id if key == "run_id" else source.model_id
    if given is None or given == own:
        return own
    if own is not None or key == "model_id":
        raise InvalidRequest(f"{key} is not that of the source")
    project = await ask.registry.project_of_run(given)
    if not ask.actor.owns(project) or (project is not None and project != source.project):
        raise Forbidden(NOT_OWNED)
    return str(given)


def tags_with_project(ask: GuardedRequest) -> tuple[list[Json], str]:
    """The tags of a new object with its project: tag > header > the only project of the person."""
    tags: list[Json] = ask.fields.get("tags", [])
    named = next((tag["value"] for tag in tags if tag["key"] == TAG_PROJECT_ID), ask.project)
    if named is not None and not ask.actor.owns(named):
        raise Forbidden(f"the tag {TAG_PROJECT_ID} or the header {PROJECT_HEADER} names a project that is not yours")
    if named is None:
        if len(ask.actor.projects) != 1:
            raise InvalidRequest(
                f"which project is it of? Name one of yours in the tag {TAG_PROJECT_ID} or the header {PROJECT_HEADER}"
            )
        named = ask.actor.project
    return [*tags_without_owner(ask), {"key": TAG_PROJECT_ID, "value": named}], named


def tags_without_owner(ask: GuardedRequest) -> list[Json]:
    """Of a new object, without the one that the gate writes. What else Domino's clients say of themselves decides
    nothing.
    """
    tags = [tag for tag in ask.fields.get("tags", []) if tag["key"] != TAG_PROJECT_ID]
    for tag in tags:
        if not OWNERSHIP_TAGS.fullmatch(tag["key"]):
            check_tag(ask.actor, tag["key"])
    return tags
