"""Rules of new objects: they get the project of who makes them, and a version is made of nothing that is not its maker's."""

import re
from typing import Any, Final

from model_contract.names import PROJECT_HEADER, TAG_PROJECT_ID
from tracking_gate.asks import Ask, Verdict, own_model
from tracking_gate.errors import AlreadyExists, Forbidden, InvalidRequest
from tracking_gate.registry import LOGGED_MODEL, RUN
from tracking_gate.rights import only_people
from tracking_gate.tags import OWNERSHIP_TAGS, check_tag

Json = dict[str, Any]
COPY: Final = re.compile(r"models:/([^/:]+)/([1-9][0-9]*)")


async def create_model(ask: Ask) -> Verdict:
    only_people(ask.actor)
    name = ask.fields["name"]
    if await ask.registry.model(name):
        # MLflow's clients make the model before each version, without tags, and go on with this answer.
        raise AlreadyExists(f"Registered Model (name={name}) already exists.")
    tags, project = stamped(ask)
    return Verdict(body=ask.fields | {"tags": tags}, facts={"project": project})


async def create_experiment(ask: Ask) -> Verdict:
    only_people(ask.actor)
    if ask.fields.get("artifact_location"):
        raise Forbidden("artifact_location lets an experiment write where others do; the server chooses it")
    tags, project = stamped(ask)
    return Verdict(body=ask.fields | {"tags": tags}, facts={"project": project})


async def create_version(ask: Ask) -> Verdict:
    only_people(ask.actor)
    project = await own_model(ask)
    for found in await projects_of_source(ask):
        if not ask.actor.owns(found):
            raise Forbidden("the source is not an object of a project of yours")
    owner = [{"key": TAG_PROJECT_ID, "value": project}] if project else []
    return Verdict(body=ask.fields | {"tags": [*own_tags(ask), *owner]}, facts={"project": project})


async def projects_of_source(ask: Ask) -> list[str | None]:
    """Of everything that the version says it is made of. Only what MLflow has itself can be a source."""
    registry, source = ask.registry, ask.fields["source"]
    found: list[str | None] = []
    if run := ask.fields.get("run_id"):
        found.append(await registry.project_of_run(run))
    if model := ask.fields.get("model_id"):
        found.append(await registry.project_of_logged_model(model))
    if matched := RUN.fullmatch(source):
        found.append(await registry.project_of_run(matched[1]))
    elif matched := LOGGED_MODEL.fullmatch(source):
        found.append(await registry.project_of_logged_model(matched[1]))
    elif matched := COPY.fullmatch(source):
        version = await registry.version(matched[1], matched[2])
        found.append(await registry.project_of_version(version) if version else None)
    elif source.startswith("mlflow-artifacts:/") and not re.search(r"\.\.|[#?%\\]", source):
        found.append(await registry.project_of_artifact(re.sub(r"^mlflow-artifacts:(?://[^/]*)?/+", "", source)))
    else:
        raise InvalidRequest("source must be runs:/..., models:/... or mlflow-artifacts:/...")
    return found


def stamped(ask: Ask) -> tuple[list[Json], str]:
    """The tags of a new object with its project: tag > header > the only project of the person."""
    tags: list[Json] = ask.fields.get("tags", [])
    named = next((tag["value"] for tag in tags if tag["key"] == TAG_PROJECT_ID), ask.project)
    if named is not None and not ask.actor.owns(named):
        raise Forbidden(f"the tag {TAG_PROJECT_ID} or the header {PROJECT_HEADER} names a project that is not yours")
    if named is None:
        if len(ask.actor.projects) != 1:
            raise InvalidRequest(f"which project is it of? Name one of yours in the tag {TAG_PROJECT_ID} or the header {PROJECT_HEADER}")
        named = ask.actor.project
    return [*own_tags(ask), {"key": TAG_PROJECT_ID, "value": named}], named


def own_tags(ask: Ask) -> list[Json]:
    """Of a new object, without the one that the gate writes. What else Domino's clients say of themselves decides nothing."""
    tags = [tag for tag in ask.fields.get("tags", []) if tag["key"] != TAG_PROJECT_ID]
    for tag in tags:
        if not OWNERSHIP_TAGS.fullmatch(tag["key"]):
            check_tag(ask.actor, tag["key"])
    return tags
