"""The request of a guarded operation as its rule sees it, the rule's answer, and lookups that several rules share."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.actors import Actor, check_may_change, check_owns, not_found
from tracking_gate.errors import Forbidden
from tracking_gate.mlflow_api.registry import LOOKUPS, Registry
from tracking_gate.mlflow_api.registry_cache import OwnerCache
from tracking_gate.mlflow_api.registry_objects import Experiment, Version

Json = dict[str, Any]
VERSION: Final = "version"  # of the keys of owners


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedRequest:
    """A request of a guarded operation, parsed.

    `expected_production` is the version that the client believes to be in Production, `new_project` the project that
    the client names for a new object.
    """

    actor: Actor
    fields: Json
    registry: Registry
    owners: OwnerCache
    expected_production: str | None = None
    new_project: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The answer of a rule: the body to forward, and facts for the audit log.

    Nothing is forwarded if `noop`: MLflow is already in the state that the request asks for. `promotes` says that files
    of the version do not change any more.
    """

    body: Json
    noop: bool = False
    promotes: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


# Returns an Approval or raises a Refusal.
Rule = Callable[[GuardedRequest], Awaitable[Approval]]


async def own_version(request: GuardedRequest) -> Version:
    """Return the version that the request names. Raises a Refusal if the actor does not own it."""
    generation = request.owners.generation
    version = await request.registry.version(request.fields["name"], request.fields["version"])
    return await _owned(request, version, generation)


async def own_version_and_others(request: GuardedRequest) -> tuple[Version, list[Version]]:
    """Return the version and the others of its model, without aliases, from one answer of MLflow."""
    generation = request.owners.generation
    versions = await request.registry.versions_of(request.fields["name"])
    named = next((found for found in versions if found.version == request.fields["version"]), None)
    version = await _owned(request, named, generation)
    return version, [found for found in versions if found is not version]


async def check_owns_version(request: GuardedRequest) -> None:
    """Check the owner alone, which may be remembered: a promotion makes several requests, and MLflow is asked once."""
    known = request.owners.get(VERSION, request.fields["name"], request.fields["version"])
    if not request.actor.owns(known):
        await own_version(request)


async def _owned(request: GuardedRequest, version: Version | None, generation: int) -> Version:
    """Check the owner of a version; `generation` is that of the owners before the version was looked up."""
    if version is None or version.name != request.fields["name"]:
        raise not_found(request.actor, "model version")
    project = await request.registry.project_of_version(version)
    request.owners.keep(generation, project, VERSION, version.name, version.version)
    check_owns(request.actor, project)
    return version


async def own_model(request: GuardedRequest) -> str | None:
    """Return the project of the model that the request names. Raises a Refusal if the actor does not own it."""
    model = await request.registry.model(request.fields["name"])
    if model is None or model.name != request.fields["name"]:
        raise not_found(request.actor, "registered model")
    project = model.tags.get(TAG_PROJECT_ID)
    check_owns(request.actor, project)
    return project


async def changeable_experiment(request: GuardedRequest) -> Experiment:
    """Return the experiment that the request names. Raises a Refusal if it is of another project than the actor's."""
    found = await request.registry.experiment(request.fields["experiment_id"])
    if found is None:
        raise not_found(request.actor, "experiment")
    check_may_change(request.actor, found.project)
    return found


@asynccontextmanager
async def equal_lookups(registry: Registry, actor: Actor, max_lookups: int) -> AsyncIterator[None]:
    """Make `max_lookups` lookups before each refusal of a token.

    So their number does not tell if an object is another project's or does not exist.
    """
    if not actor.is_token:
        yield
        return
    lookups: list[str] = []
    token = LOOKUPS.set(lookups)
    try:
        yield
    except Forbidden:
        while 0 < len(lookups) < max_lookups:
            await registry.look_up_nothing()
        raise
    finally:
        LOOKUPS.reset(token)
