"""Reads of a token: each is allowed if the object is of the token's project.

The remembered owner of an object suffices to allow a read; a refusal always follows a lookup in MLflow.
"""

from collections.abc import Mapping
from typing import Final

from tracking_gate.actors import Actor, check_owns, not_owned
from tracking_gate.errors import InvalidRequest
from tracking_gate.http.parsing import decoded_path, encoded_path
from tracking_gate.mlflow_api.artifact_locations import contains
from tracking_gate.mlflow_api.registry_cache import RegistryCache
from tracking_gate.mlflow_api.registry_objects import Json, experiment_id_of_run, own_project_of_run
from tracking_gate.mlflow_api.search_filters import models_of_filter, project_of_filter
from tracking_gate.policy.guarded_request import equal_lookups
from tracking_gate.policy.routes import ObjectKey

# The most lookups that find the owner of an object: a run or a logged model, its run, its experiment.
MAX_LOOKUPS: Final = {
    ObjectKey.MODEL: 1,
    ObjectKey.FILTER: 1,
    ObjectKey.EXPERIMENT: 1,
    ObjectKey.RUN: 2,
    ObjectKey.LOGGED_MODEL: 3,
    ObjectKey.ARTIFACT: 4,
}


class ReadAccess:
    """Checks reads by the owner of their object."""

    def __init__(self, cache: RegistryCache) -> None:
        self._registry = cache.registry
        self._cache = cache
        self._owners = cache.owners

    async def check(self, actor: Actor, object_key: ObjectKey | None, parameters: Mapping[str, str]) -> None:
        """Raise Forbidden if the object is not of the token's project. Raises InvalidRequest, Unavailable."""
        async with equal_lookups(self._registry, actor, MAX_LOOKUPS[object_key] if object_key else 0):
            if object_key is ObjectKey.FILTER:
                return await self._check_filter(actor, parameters.get("filter", ""))
            value = parameters.get(object_key or "") or (run_id_of(parameters) if object_key is ObjectKey.RUN else None)
            if not value:
                raise InvalidRequest(f"{object_key} is missing")
            if object_key is ObjectKey.ARTIFACT:
                await self._check_location(actor, checked_artifact_path(value).strip("/"))
            else:
                check_owns(actor, await self._known_project(actor, object_key, value))

    async def own_run(self, actor: Actor, parameters: Mapping[str, str]) -> Json:
        """Return MLflow's answer about a run of the token's project. Raises as `check`."""
        if not (run_id := run_id_of(parameters)):
            raise InvalidRequest("run_id is missing")
        async with equal_lookups(self._registry, actor, MAX_LOOKUPS[ObjectKey.RUN]):
            found = await self._registry.raw_run(run_id)
            check_owns(actor, await self._project_of_run(actor, found) if found else None)
            return found or {}

    async def _check_location(self, actor: Actor, location: str) -> None:
        """Raise Forbidden if the location is neither in an experiment of the project nor in a run with its tag."""
        experiment, _, rest = location.partition("/")
        if not rest:
            raise not_owned(actor)
        found: str | None = None
        if experiment.isdecimal() and experiment.isascii():
            found = await self._known_project_of_directory(actor, experiment)
        if not actor.owns(found):
            found = await self._registry.own_project_at(location) or (
                None if experiment.isdecimal() else await self._project_by_location(location)
            )
        check_owns(actor, found)

    async def _known_project_of_directory(self, actor: Actor, experiment: str) -> str | None:
        """Return the project of the experiment if its artifacts are in MLflow's default directory, named by its id."""
        if actor.owns(known := self._owners.get(ObjectKey.ARTIFACT, experiment)):
            return known
        generation = self._owners.generation
        found = await self._registry.experiment(experiment)
        project = found.project if found and found.location == experiment else None
        self._owners.keep(generation, project, ObjectKey.ARTIFACT, experiment)
        return project

    async def _project_by_location(self, location: str) -> str | None:
        """Return the project of the experiments that contain a location, None if they are of several projects."""
        around = [
            found for found in await self._cache.experiments() if found.location and contains(found.location, location)
        ]
        projects = {found.project for found in around if found.location != location}
        return projects.pop() if len(projects) == 1 else None

    async def _check_filter(self, actor: Actor, filter_: str) -> None:
        """Raise Forbidden if a search could find what is not the actor's. The tag of a project finds its own only."""
        if project := project_of_filter(filter_):
            return check_owns(actor, project)
        return await self._check_models(actor, models_of_filter(filter_))

    async def _check_models(self, actor: Actor, names: frozenset[str]) -> None:
        """Raise Forbidden if one of the models is not the actor's. All unknown owners take one lookup."""
        projects = {name: self._owners.get(ObjectKey.MODEL, name) for name in names}
        generation = self._owners.generation
        unknown = [name for name in names if not actor.owns(projects[name])]
        for name, project in (await self._registry.projects_of_models(unknown)).items():
            self._owners.keep(generation, project, ObjectKey.MODEL, name)
            projects[name] = project
        for project in projects.values():
            check_owns(actor, project)

    async def _known_project(self, actor: Actor, object_key: ObjectKey | None, value: str) -> str | None:
        """Return the remembered project if the actor owns it; else look it up, as for an object that does not exist."""
        if actor.owns(known := self._owners.get(str(object_key), value)):
            return known
        generation = self._owners.generation
        project = await self._project(actor, object_key, value)
        self._owners.keep(generation, project, str(object_key), value)
        return project

    async def _project(self, actor: Actor, object_key: ObjectKey | None, value: str) -> str | None:
        """Look up the project of an object; that of its experiment may be remembered."""
        registry = self._registry
        match object_key:
            case ObjectKey.MODEL:
                return await registry.project_of_model(value)
            case ObjectKey.RUN:
                run = await registry.raw_run(value)
                return await self._project_of_run(actor, run) if run else None
            case ObjectKey.LOGGED_MODEL:
                info = await registry.logged_model(value)
                return await self._project_of_logged_model(actor, info) if info else None
            case _:
                return await registry.project_of_experiment(value)

    async def _project_of_run(self, actor: Actor, run: Json) -> str | None:
        own = own_project_of_run(run)
        return own or await self._known_project(actor, ObjectKey.EXPERIMENT, experiment_id_of_run(run))

    async def _project_of_logged_model(self, actor: Actor, info: Json) -> str | None:
        project = await self._known_project(actor, ObjectKey.EXPERIMENT, str(info["experiment_id"]))
        if actor.owns(project) or not info.get("source_run_id"):
            return project
        run = await self._registry.raw_run(info["source_run_id"])
        return (own_project_of_run(run) if run else None) or project


def run_id_of(parameters: Mapping[str, str]) -> str | None:
    """Return the id of the run: MLflow accepts both names, in this order."""
    return parameters.get("run_id") or parameters.get("run_uuid")


def checked_artifact_path(path: str) -> str:
    """Return the path of artifacts. Raises InvalidRequest if MLflow could read it in another way."""
    return decoded_path("/" + encoded_path(path))[1:]
