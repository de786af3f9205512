"""Writes and deletions of files by people of the project: allowed unless a promoted version has files there.

Owners are looked up in MLflow for each write. The locations of promoted versions and of experiments are remembered.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from tracking_gate.actors import Actor, ActorKind, check_may_change, not_found, not_owned
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest
from tracking_gate.http.parsing import decoded_path, encoded_path
from tracking_gate.mlflow_api.artifact_locations import UNPROTECTED, below, contains, joined, overlap
from tracking_gate.mlflow_api.registry_cache import RegistryCache, Write
from tracking_gate.mlflow_api.registry_objects import Experiment, location_of_run
from tracking_gate.policy.read_access import checked_artifact_path
from tracking_gate.policy.routes import ObjectKey


class WriteAccess:
    """Checks writes by the owners of the location, and by the promoted versions."""

    def __init__(self, cache: RegistryCache) -> None:
        self._registry = cache.registry
        self._cache = cache

    @asynccontextmanager
    async def allowed(
        self, actor: Actor, object_key: ObjectKey | None, parameters: Mapping[str, str]
    ) -> AsyncIterator[Write]:
        """Yield a write that is allowed; it may be refused before its end, if a version is promoted meanwhile.

        Raises Forbidden or NotFound if the person may not write there, Conflict if a promoted version has files there,
        InvalidRequest, Unavailable.
        """
        value = parameters.get(object_key or "", "")
        if not value:
            raise InvalidRequest(f"{object_key} is missing")
        write = Write(await self._checked_location(actor, object_key, value, parameters))
        self._cache.writes.add(write)  # before the lookup of what is promoted
        try:
            await self._check_not_promoted(write.location)
            yield write
        finally:
            self._cache.writes.discard(write)

    async def _check_not_promoted(self, location: str) -> None:
        for promoted, version in (await self._cache.promoted()).items():
            if overlap(promoted, location):
                raise Conflict(f"version {version.version} of {version.name} is promoted; its files do not change")

    async def _checked_location(
        self, actor: Actor, object_key: ObjectKey | None, value: str, parameters: Mapping[str, str]
    ) -> str:
        """Return the location that is written. Raises Forbidden or NotFound if the person may not write there."""
        location: str | None
        if object_key is ObjectKey.UPLOAD:
            run = await self._registry.raw_run(value)
            if run is None:
                raise not_found(actor, "run")
            check_may_change(actor, await self._registry.project_of_run(run))
            location = location_of_run(run)
            path = decoded_path("/" + encoded_path(parameters.get("path", "").strip("/")))
            location = None if location is None else below(location, joined(path))
        else:
            location = joined(checked_artifact_path(value))
            await self._check_location(actor, location)
        if location is None:
            raise Forbidden(UNPROTECTED)
        return location

    async def _check_location(self, actor: Actor, location: str) -> None:
        """Check the owners of the experiments that contain the location, and of all that the location contains.

        Raises Forbidden if the location is of no experiment.
        """
        around = await self._experiments_around(location)
        if not around:
            self._cache.forget_experiments()  # one may have been created without the gate a moment ago
            around = await self._experiments_around(location)
        if not around:
            raise Forbidden("the path belongs to no experiment: artifacts are written below a run or a logged model")
        for experiment in around:
            rest = (
                location.removeprefix(experiment.location or "").strip("/")
                if contains(experiment.location or "", location)
                else ""
            )
            own = await self._registry.own_project_at(location) if rest else None
            check_may_change(actor, own or await self._registry.project_of_experiment(experiment.id))
            whole = rest in {"", "models"} and actor.kind is not ActorKind.ADMIN
            if whole and await self._registry.has_runs_of_others(experiment.id, actor.projects):
                raise not_owned(actor)

    async def _experiments_around(self, location: str) -> list[Experiment]:
        return [
            found
            for found in await self._cache.experiments()
            if found.location is not None and overlap(found.location, location)
        ]
