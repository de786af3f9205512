"""A guarded operation as its rule sees it, and what a rule says."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.actors import Actor
from tracking_gate.mlflow_api.registry import Experiment, Registry, Version
from tracking_gate.mlflow_api.registry_cache import OwnerCache
from tracking_gate.rights import check_changeable, check_owns, not_found

Json = dict[str, Any]
VERSION: Final = "version"  # of the keys of owners


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardedRequest:
    """A guarded operation: by whom, on what.

    `expected` is the version that the caller believes to be in Production, `project` what a new object is to be of.
    """

    actor: Actor
    fields: Json
    registry: Registry
    owners: OwnerCache
    expected: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """What may be done: the body to forward, and what the audit log says of it. Nothing is forwarded for what is so
    already.
    """

    body: Json
    noop: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


Rule = Callable[[GuardedRequest], Awaitable[Approval]]


async def own_version(ask: GuardedRequest) -> Version:
    changes = ask.owners.changes
    return await _owned(ask, await ask.registry.version(ask.fields["name"], ask.fields["version"]), changes)


async def own_version_and_others(ask: GuardedRequest) -> tuple[Version, list[Version]]:
    """The version, and the others of its model, from one answer; MLflow leaves their aliases out of it."""
    changes = ask.owners.changes
    versions = await ask.registry.versions_of(ask.fields["name"])
    version = await _owned(
        ask, next((found for found in versions if found.version == ask.fields["version"]), None), changes
    )
    return version, [found for found in versions if found is not version]


async def check_owns_version(ask: GuardedRequest) -> None:
    """For a change that does not depend on how the version is: a promotion makes several, and MLflow is asked once."""
    if not ask.actor.owns(ask.owners.of(VERSION, ask.fields["name"], ask.fields["version"])):
        await own_version(ask)


async def _owned(ask: GuardedRequest, version: Version | None, changes: int) -> Version:
    """`changes` as they were before it was read."""
    if version is None or version.name != ask.fields["name"]:
        raise not_found(ask.actor, "model version")
    project = await ask.registry.project_of_version(version)
    ask.owners.keep(changes, project, VERSION, version.name, version.version)
    check_owns(ask.actor, project)
    return version


async def own_model(ask: GuardedRequest) -> str | None:
    model = await ask.registry.model(ask.fields["name"])
    if model is None or model.name != ask.fields["name"]:
        raise not_found(ask.actor, "registered model")
    project = model.tags.get(TAG_PROJECT_ID)
    check_owns(ask.actor, project)
    return project


async def changeable_experiment(ask: GuardedRequest) -> Experiment:
    """Return the experiment, which is the person's or has no project."""
    found = await ask.registry.experiment(ask.fields["experiment_id"])
    if found is None:
        raise not_found(ask.actor, "experiment")
    check_changeable(ask.actor, found.project)
    return found
