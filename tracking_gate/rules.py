"""The rules of guarded operations: one function each, from who asks and what is asked to what is forwarded. They raise a Refusal.

They only read, so that the decision can be explained without anything being done. What they read is read under the model's lock.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from model_contract.names import PROMOTION_TAG_PREFIX, TAG_DIGEST, TAG_MODEL_ID, TAG_MODEL_VERSION_ID, TAG_PROJECT_ID
from tracking_gate.actors import Actor, Kind
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest, NotFound
from tracking_gate.registry import ACTIVE, LOGGED_MODEL, RUN, Registry, Version

Json = dict[str, Any]
PRODUCTION: Final = "Production"
READY: Final = "READY"
NO_VERSION: Final = "none"  # in the header of who expects that nothing is in Production
PROMOTION_ID: Final = f"{PROMOTION_TAG_PREFIX}id"
PROTECTED_ALIASES: Final = frozenset({"production"})
OWNERSHIP_TAGS: Final = re.compile(r"mlflow\.domino\..*|domino\.project", re.IGNORECASE)
DEPLOYMENT_TAGS: Final = frozenset({TAG_MODEL_ID, TAG_MODEL_VERSION_ID})
COPY: Final = re.compile(r"models:/([^/:]+)/([1-9][0-9]*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """A guarded operation: by whom, on what. `expected` is the version that the caller believes to be in Production."""

    actor: Actor
    fields: Json
    registry: Registry
    expected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What may be done: the body to forward, and what the audit log says of it. Nothing is forwarded for what is so already."""

    body: Json
    noop: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[Ask], Awaitable[Verdict]]


async def transition_stage(ask: Ask) -> Verdict:
    needs_promotion(ask.actor, "moving a version") if ask.actor.kind is Kind.PULL else None
    version = await own_version(ask)
    stage, archives = ask.fields["stage"], ask.fields.get("archive_existing_versions", False)
    others = [other for other in await ask.registry.versions_of(version.name) if other.version != version.version]
    archived = sorted(other.version for other in others if archives and other.stage == stage)
    facts = {"from_stage": version.stage, "to_stage": stage, "archived": archived}
    if PRODUCTION in {stage, version.stage}:
        needs_promotion(ask.actor, "moving a version into or out of Production")
    if archives and stage not in ACTIVE:
        raise InvalidRequest("archive_existing_versions goes with Staging and Production only")
    check_expected(ask.expected, [one for one in (version, *others) if one.stage == PRODUCTION])
    if stage == version.stage and not archived:
        return Verdict(body=ask.fields, noop=True, facts=facts)
    check_movable(version, stage)
    return Verdict(body=ask.fields, facts=facts)


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
            f"version {version.version} is in stage {version.stage}; only one in Staging, or one that was in Production, goes there"
        )


async def set_alias(ask: Ask) -> Verdict:
    version = await own_version(ask)
    check_alias(ask)
    return Verdict(body=ask.fields, noop=ask.fields["alias"] in version.aliases, facts={"alias": ask.fields["alias"]})


async def delete_alias(ask: Ask) -> Verdict:
    await own_model(ask)
    check_alias(ask)
    return Verdict(body=ask.fields, facts={"alias": ask.fields["alias"]})


def check_alias(ask: Ask) -> None:
    if ask.actor.kind is Kind.PULL or ask.fields["alias"].casefold() in PROTECTED_ALIASES:
        needs_promotion(ask.actor, f"the alias {ask.fields['alias']}")


async def set_version_tag(ask: Ask) -> Verdict:
    version = await own_version(ask)
    key, value = ask.fields["key"], ask.fields.get("value", "")
    check_tag(ask.actor, key)
    if key == TAG_DIGEST and version.tags.get(key, value) != value:
        raise Conflict(f"{TAG_DIGEST} is written once, and is another one")
    return Verdict(body=ask.fields, noop=version.tags.get(key) == value, facts={"key": key})


async def delete_version_tag(ask: Ask) -> Verdict:
    await own_version(ask)
    if ask.fields["key"] == TAG_DIGEST:
        raise Forbidden(f"{TAG_DIGEST} stays")
    check_tag(ask.actor, ask.fields["key"])
    return Verdict(body=ask.fields, facts={"key": ask.fields["key"]})


async def change_model_tag(ask: Ask) -> Verdict:
    await own_model(ask)
    check_tag(ask.actor, ask.fields["key"])
    return Verdict(body=ask.fields, facts={"key": ask.fields["key"]})


async def change_experiment_tag(ask: Ask) -> Verdict:
    only_people(ask.actor)
    check_tag(ask.actor, ask.fields["key"])
    return Verdict(body=ask.fields, facts={"key": ask.fields["key"]})


def check_tag(actor: Actor, key: str) -> None:
    if actor.kind is Kind.ADMIN:
        return
    if OWNERSHIP_TAGS.fullmatch(key):
        raise Forbidden(f"{key} says whose a model is; the gate writes it when the model is created")
    if actor.kind is Kind.PULL or key.startswith(PROMOTION_TAG_PREFIX):
        needs_promotion(actor, f"the tag {key}")
    if actor.kind is Kind.PROMOTE and key not in DEPLOYMENT_TAGS | {TAG_DIGEST} and not key.startswith(PROMOTION_TAG_PREFIX):
        raise Forbidden(f"the tag {key} is for people of the project to set")


async def create_model(ask: Ask) -> Verdict:
    only_people(ask.actor)
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


async def update_object(ask: Ask) -> Verdict:
    only_people(ask.actor)
    await (own_version(ask) if "version" in ask.fields else own_model(ask))
    return Verdict(body=ask.fields)


async def rename_model(ask: Ask) -> Verdict:
    only_people(ask.actor)
    await own_model(ask)
    await without_promoted(ask)
    if await ask.registry.model(ask.fields["new_name"]):
        raise Conflict("the new name is taken")
    return Verdict(body=ask.fields)


async def delete_model(ask: Ask) -> Verdict:
    only_people(ask.actor)
    await own_model(ask)
    await without_promoted(ask)
    return Verdict(body=ask.fields)


async def without_promoted(ask: Ask) -> None:
    name = ask.fields["name"]
    model = await ask.registry.model(name)
    if promoted := [version.version for version in await ask.registry.versions_of(name) if version.stage in ACTIVE]:
        raise Conflict(f"version {promoted[0]} is in Staging or Production")
    if model and model.aliases:
        raise Conflict(f"the alias {next(iter(model.aliases))} means a version of this model")


async def delete_version(ask: Ask) -> Verdict:
    only_people(ask.actor)
    version = await own_version(ask)
    if version.stage in ACTIVE or version.aliases:
        raise Conflict(f"version {version.version} is in {version.stage}" + (f", alias {version.aliases[0]}" if version.aliases else ""))
    return Verdict(body=ask.fields)


async def delete_experiment(ask: Ask) -> Verdict:
    only_people(ask.actor)
    experiment = ask.fields["experiment_id"]
    project = await ask.registry.project_of_experiment(experiment)
    if project and not ask.actor.owns(project):
        raise Forbidden("not an object of a project of yours")
    for place, version in (await ask.registry.promoted()).items():
        if place.split("/")[0] == experiment:
            raise Conflict(f"version {version.version} of {version.name} is promoted, and its files are of this experiment")
    return Verdict(body=ask.fields)


async def delete_run(ask: Ask) -> Verdict:
    only_people(ask.actor)
    project = await ask.registry.project_of_run(ask.fields["run_id"])
    if project and not ask.actor.owns(project):
        raise Forbidden("not an object of a project of yours")
    for version in (await ask.registry.promoted()).values():
        if version.run_id == ask.fields["run_id"]:
            raise Conflict(f"version {version.version} of {version.name} is promoted, and is of this run")
    return Verdict(body=ask.fields)


async def search_logged_models(ask: Ask) -> Verdict:
    """A token sees its own project's, or nothing."""
    if ask.actor.is_token:
        experiments = ask.fields.get("experiment_ids", [])
        projects = [await ask.registry.project_of_experiment(experiment) for experiment in experiments]
        if not projects or not all(ask.actor.owns(project) for project in projects):
            raise not_own(ask.actor)
    return Verdict(body=ask.fields)


async def latest_versions(ask: Ask) -> Verdict:
    if ask.actor.is_token:
        await own_model(ask)
    return Verdict(body=ask.fields)


RULES: Final[Mapping[str, Rule]] = {
    "transition_stage": transition_stage,
    "set_alias": set_alias,
    "delete_alias": delete_alias,
    "set_version_tag": set_version_tag,
    "delete_version_tag": delete_version_tag,
    "set_model_tag": change_model_tag,
    "delete_model_tag": change_model_tag,
    "create_model": create_model,
    "update_model": update_object,
    "rename_model": rename_model,
    "delete_model": delete_model,
    "latest_versions": latest_versions,
    "create_version": create_version,
    "update_version": update_object,
    "delete_version": delete_version,
    "create_experiment": create_experiment,
    "set_experiment_tag": change_experiment_tag,
    "delete_experiment_tag": change_experiment_tag,
    "delete_experiment": delete_experiment,
    "delete_run": delete_run,
    "search_logged_models": search_logged_models,
}


def needs_promotion(actor: Actor, what: str) -> None:
    if actor.kind not in {Kind.PROMOTE, Kind.ADMIN}:
        raise Forbidden(f"{what} needs the promote token of the project")


def only_people(actor: Actor) -> None:
    if actor.is_token:
        raise Forbidden("this is for people of the project, not for a token")


async def own_version(ask: Ask) -> Version:
    version = await ask.registry.version(ask.fields["name"], ask.fields["version"])
    if version is None or version.name != ask.fields["name"]:
        raise missing(ask.actor, "model version")
    check_own(ask.actor, await ask.registry.project_of_version(version))
    return version


async def own_model(ask: Ask) -> str | None:
    model = await ask.registry.model(ask.fields["name"])
    if model is None or model.name != ask.fields["name"]:
        raise missing(ask.actor, "registered model")
    project = model.tags.get(TAG_PROJECT_ID)
    check_own(ask.actor, project)
    return project


def check_own(actor: Actor, project: str | None) -> None:
    if not actor.owns(project):
        raise not_own(actor, project)


def missing(actor: Actor, what: str) -> Exception:
    """A token does not learn what there is beside its project."""
    return not_own(actor) if actor.is_token else NotFound(f"there is no such {what}")


def not_own(actor: Actor, project: str | None = "") -> Forbidden:
    if actor.is_token:
        return Forbidden(f"not an object of project {actor.project}")
    return Forbidden("not an object of a project of yours" if project is not None else "this model has no project: an admin gives it one")


def stamped(ask: Ask) -> tuple[list[Json], str]:
    """The tags of a new object with its project: the one that its tag names if the person has it, else the only one they have."""
    tags: list[Json] = ask.fields.get("tags", [])
    named = next((tag["value"] for tag in tags if tag["key"] == TAG_PROJECT_ID), None)
    if named is not None and not ask.actor.owns(named):
        raise Forbidden(f"the tag {TAG_PROJECT_ID} names a project that is not yours")
    if named is None:
        if len(ask.actor.projects) != 1:
            raise InvalidRequest(f"which project is it of? Name one of yours in the tag {TAG_PROJECT_ID}")
        named = ask.actor.project
    return [*own_tags(ask), {"key": TAG_PROJECT_ID, "value": named}], named


def own_tags(ask: Ask) -> list[Json]:
    """Of a new object, without the one that the gate writes. What else Domino's clients say of themselves decides nothing."""
    tags = [tag for tag in ask.fields.get("tags", []) if tag["key"] != TAG_PROJECT_ID]
    for tag in tags:
        if not OWNERSHIP_TAGS.fullmatch(tag["key"]):
            check_tag(ask.actor, tag["key"])
    return tags
