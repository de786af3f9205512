"""Objects of requests that are streamed: their owners, and if their files may be written.

A reader is checked by what is known of the owner, a writer by what MLflow says now. Which files are promoted, and where
the artifacts of experiments lie, is kept until it is changed through the gate, and a minute at most, for what is
changed past it.
"""

import re
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from tracking_gate.actors import Actor, ActorKind
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest
from tracking_gate.http.parsing import decoded_path, encoded_path
from tracking_gate.mlflow_api import artifact_locations as places
from tracking_gate.mlflow_api.registry import QUESTIONS, Experiment, Json, Registry, Version, experiment_of, own_project
from tracking_gate.mlflow_api.registry_cache import KEPT, OwnerCache
from tracking_gate.mlflow_api.version_sources import promoted_locations
from tracking_gate.policy.guarded_operations import OPERATIONS, Invalidates
from tracking_gate.policy.routes import ObjectKey
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS
from tracking_gate.rights import check_changeable, check_owns, not_found, not_owned

# Names that MLflow's parser of filters cannot read otherwise, and the filters that name models and nothing else.
MODEL_NAME: Final = r"'[^'\"\\`%\x00-\x1f\x7f]+'"
NAME_WITH_QUOTE: Final = r"\"[^\"\\`%\x00-\x1f\x7f]*'[^\"\\`%\x00-\x1f\x7f]*\""
OF_MODELS: Final = re.compile(rf"name=({MODEL_NAME}|{NAME_WITH_QUOTE})|name IN \(({MODEL_NAME}(?:,{MODEL_NAME})*)\)")
BY_NAME: Final = "filter must be name='...' or name IN ('...','...') with the names of models"
# The most questions that it takes to tell a token's own object from another's: a run or a logged model, its run, its
# experiment.
MAX_LOOKUPS: Final = {
    ObjectKey.MODEL: 1,
    ObjectKey.FILTER: 1,
    ObjectKey.EXPERIMENT: 1,
    ObjectKey.RUN: 2,
    ObjectKey.LOGGED_MODEL: 3,
    ObjectKey.ARTIFACT: 4,
}


@asynccontextmanager
async def equal_lookups(registry: Registry, actor: Actor, most: int) -> AsyncIterator[None]:
    """Ask MLflow the same number of questions before each refusal of a token, if the object is another project's or is
    not there.
    """
    if not actor.is_token:
        yield
        return
    asked: list[str] = []
    token = QUESTIONS.set(asked)
    try:
        yield
    except Forbidden:
        while 0 < len(asked) < most:
            await registry.look_up_nothing()
        raise
    finally:
        QUESTIONS.reset(token)


class Objects:
    """Asks the registry, and remembers."""

    def __init__(self, registry: Registry, owners: OwnerCache) -> None:
        self._registry = registry
        self._owners = owners
        self._moves = 0
        self._unclear_until = 0.0
        self._promoted: tuple[float, Mapping[str, Version]] | None = None
        self._experiments: tuple[float, list[Experiment]] | None = None

    def forget(self, operation: str, key: str = "", *, unclear: bool = False) -> None:
        """Forget what a guarded operation, of a tag `key`, may have changed. Answers that are on their way are not kept
        either.

        `unclear` is after an answer that did not come: MLflow may make the change later, so for a while nothing is
        kept.
        """
        invalidates = OPERATIONS[operation].invalidates
        if invalidates is Invalidates.NOTHING or (invalidates is Invalidates.TAG and not OWNERSHIP_TAGS.fullmatch(key)):
            return
        self._moves += 1
        self._promoted = None
        if unclear:
            self._unclear_until = time.monotonic() + KEPT
        if invalidates is not Invalidates.PROMOTED:
            self._experiments = None
            self._owners.forget(unclear=unclear)

    async def check_readable(self, actor: Actor, object_key: ObjectKey | None, named: Mapping[str, str]) -> None:
        """A token's own. Raises Forbidden, InvalidRequest, Unavailable."""
        async with equal_lookups(self._registry, actor, MAX_LOOKUPS[object_key] if object_key else 0):
            if object_key is ObjectKey.FILTER:
                return await self._check_models(actor, models_of_filter(named.get("filter", "")))
            value = named.get(object_key or "") or (run_of(named) if object_key is ObjectKey.RUN else None)
            if not value:
                raise InvalidRequest(f"{object_key} is missing")
            if object_key is ObjectKey.ARTIFACT:
                await self._check_readable_place(actor, checked(value).strip("/"))
            else:
                check_owns(actor, await self._known_project(actor, object_key, value))

    async def own_run(self, actor: Actor, named: Mapping[str, str]) -> Json:
        """MLflow's answer about a token's own run, which says whose it is. Raises as above."""
        if not (run_id := run_of(named)):
            raise InvalidRequest("run_id is missing")
        async with equal_lookups(self._registry, actor, MAX_LOOKUPS[ObjectKey.RUN]):
            found = await self._registry.raw_run(run_id)
            check_owns(actor, await self._project_of_raw_run(actor, found) if found else None)
            return found or {}

    async def check_writable(self, actor: Actor, object_key: ObjectKey | None, named: Mapping[str, str]) -> None:
        """Files of a person's own runs and models, or of nobody's, that no promoted version is made of. Raises as
        above, and Conflict.
        """
        value = named.get(object_key or "", "")
        if not value:
            raise InvalidRequest(f"{object_key} is missing")
        location = await self._place(actor, object_key, value, named)
        for promoted, version in (await self._known_promoted()).items():
            if places.overlap(promoted, location):
                raise Conflict(f"version {version.version} of {version.name} is promoted; its files do not change")

    async def _place(self, actor: Actor, object_key: ObjectKey | None, value: str, named: Mapping[str, str]) -> str:
        """Return the place that is written, of which nothing is another project's."""
        location: str | None
        if object_key is ObjectKey.UPLOAD:
            run = await self._registry.raw_run(value)
            if run is None:
                raise not_found(actor, "run")
            check_changeable(actor, await self._registry.project_of_raw_run(run))
            location = places.proxied_location(run["run"]["info"].get("artifact_uri", ""))
            below = decoded_path("/" + encoded_path(named.get("path", "").strip("/")))
            location = None if location is None else places.joined(location, below)
        elif object_key is ObjectKey.LOGGED_MODEL:
            info = await self._registry.logged_model(value)
            if info is None:
                raise not_found(actor, "logged model")
            check_changeable(actor, await self._registry.project_of_info(info))
            location = places.proxied_location(info["artifact_uri"])
        else:
            location = places.joined(checked(value))
            await self._check_writable_place(actor, location)
        if location is None:
            raise not_found(actor, "place for artifacts")
        return location

    async def _check_writable_place(self, actor: Actor, location: str) -> None:
        """Judge a place by the experiments that contain it and by all that it contains. One that is of no experiment is
        refused.
        """
        around = [
            found
            for found in await self._known_experiments()
            if found.location is not None and places.overlap(found.location, location)
        ]
        if not around:
            self._experiments = None  # an experiment that was made past the gate a moment ago
            around = [
                found
                for found in await self._known_experiments()
                if found.location is not None and places.overlap(found.location, location)
            ]
        if not around:
            raise Forbidden("the path is not of an experiment: artifacts are written below a run or a logged model")
        for experiment in around:
            below = (
                location.removeprefix(experiment.location or "").strip("/")
                if places.contains(experiment.location or "", location)
                else ""
            )
            own = await self._own_project_of_place(location) if below else None
            check_changeable(actor, own or await self._registry.project_of_experiment(experiment.id))
            whole = below in {"", "models"} and actor.kind is not ActorKind.ADMIN
            if whole and await self._registry.has_runs_of_others(experiment.id, actor.projects):
                raise not_owned(actor)

    async def _own_project_of_place(self, location: str) -> str | None:
        """Return the project of the run that a place is of, if the run has a tag of its own. The path alone proves
        nothing.
        """
        run_id, model_id = places.run_id_in(location), places.model_id_in(location)
        run = await self._registry.raw_run(run_id) if run_id else None
        root = places.proxied_location(run["run"]["info"].get("artifact_uri", "")) if run else None
        if run and root and places.overlap(root, location):
            return own_project(run)
        info = await self._registry.logged_model(model_id) if model_id else None
        root = places.proxied_location(info["artifact_uri"]) if info else None
        if not info or not root or not places.overlap(root, location) or not info.get("source_run_id"):
            return None
        run = await self._registry.raw_run(info["source_run_id"])
        return own_project(run) if run else None

    async def _check_readable_place(self, actor: Actor, location: str) -> None:
        """A token reads what is in its project's experiments, or in a run that has its project's tag."""
        experiment, _, rest = location.partition("/")
        if not rest:
            raise not_owned(actor)
        found: str | None = None
        if experiment.isdecimal() and experiment.isascii():
            found = await self._known_project_of_place(actor, experiment)
        if not actor.owns(found):
            found = await self._own_project_of_place(location) or (
                None if experiment.isdecimal() else await self._project_by_location(location)
            )
        check_owns(actor, found)

    async def _known_project_of_place(self, actor: Actor, experiment: str) -> str | None:
        """Return the project of the experiment if its artifacts lie where MLflow puts those of an experiment by
        default.
        """
        if actor.owns(known := self._owners.of(ObjectKey.ARTIFACT, experiment)):
            return known
        changes = self._owners.changes
        found = await self._registry.experiment(experiment)
        project = found.project if found and found.location == experiment else None
        self._owners.keep(changes, project, ObjectKey.ARTIFACT, experiment)
        return project

    async def _project_by_location(self, location: str) -> str | None:
        """Return the project of the experiments with a location of their own that contain a place, if it is one."""
        around = [
            found
            for found in await self._known_experiments()
            if found.location and places.contains(found.location, location)
        ]
        projects = {found.project for found in around if found.location != location}
        return projects.pop() if len(projects) == 1 else None

    async def _check_models(self, actor: Actor, names: frozenset[str]) -> None:
        """All of them are the actor's. MLflow is asked once for those whose owner is not known."""
        projects = {name: self._owners.of(ObjectKey.MODEL, name) for name in names}
        changes = self._owners.changes
        unknown = [name for name in names if not actor.owns(projects[name])]
        for name, project in (await self._registry.projects_of_models(unknown)).items():
            self._owners.keep(changes, project, ObjectKey.MODEL, name)
            projects[name] = project
        for project in projects.values():
            check_owns(actor, project)

    async def _known_project(self, actor: Actor, object_key: ObjectKey | None, value: str) -> str | None:
        """Return what is known if it is the actor's; else ask MLflow, as for what is not there."""
        if actor.owns(known := self._owners.of(str(object_key), value)):
            return known
        changes = self._owners.changes
        project = await self._asked_project(actor, object_key, value)
        self._owners.keep(changes, project, str(object_key), value)
        return project

    async def _project_of_raw_run(self, actor: Actor, run: Json) -> str | None:
        return own_project(run) or await self._known_project(actor, ObjectKey.EXPERIMENT, experiment_of(run))

    async def _asked_project(self, actor: Actor, object_key: ObjectKey | None, value: str) -> str | None:
        """Runs and logged models are their experiment's, which may be known, if their run has no project of its own."""
        registry = self._registry
        match object_key:
            case ObjectKey.MODEL:
                return await registry.project_of_model(value)
            case ObjectKey.RUN:
                run = await registry.raw_run(value)
                return await self._project_of_raw_run(actor, run) if run else None
            case ObjectKey.LOGGED_MODEL:
                info = await registry.logged_model(value)
                return await self._project_of_info(actor, info) if info else None
            case _:
                return await registry.project_of_experiment(value)

    async def _project_of_info(self, actor: Actor, info: Json) -> str | None:
        project = await self._known_project(actor, ObjectKey.EXPERIMENT, str(info["experiment_id"]))
        if actor.owns(project) or not info.get("source_run_id"):
            return project
        run = await self._registry.raw_run(info["source_run_id"])
        return (own_project(run) if run else None) or project

    async def _known_promoted(self) -> Mapping[str, Version]:
        now, moves = time.monotonic(), self._moves
        if self._promoted and self._promoted[0] > now:
            return self._promoted[1]
        promoted = await promoted_locations(self._registry)
        if moves == self._moves and self._unclear_until <= now:
            self._promoted = (now + KEPT, promoted)
        return promoted

    async def _known_experiments(self) -> Iterable[Experiment]:
        now, moves = time.monotonic(), self._moves
        if self._experiments and self._experiments[0] > now:
            return self._experiments[1]
        experiments = await self._registry.experiments()
        if moves == self._moves:
            self._experiments = (now + KEPT, experiments)
        return experiments


def run_of(named: Mapping[str, str]) -> str | None:
    """MLflow takes both names, in this order."""
    return named.get("run_id") or named.get("run_uuid")


def checked(path: str) -> str:
    """A path of artifacts that can be read in one way only. Raises InvalidRequest."""
    return decoded_path("/" + encoded_path(path))[1:]


def models_of_filter(filter_: str) -> frozenset[str]:
    """A token names the models that it searches for, in a way that MLflow cannot read otherwise. Raises Forbidden,
    InvalidRequest.
    """
    if not filter_:
        raise Forbidden(f"a token does not search everything: {BY_NAME}")
    found = OF_MODELS.fullmatch(filter_)
    if not found:
        raise InvalidRequest(f"for a token, {BY_NAME}")
    if found[1]:
        return frozenset({found[1][1:-1]})
    return frozenset(name[1:-1] for name in re.findall(MODEL_NAME, found[2]))
