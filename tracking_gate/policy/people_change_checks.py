"""Checks of a change by a person: the owners of the objects that it changes, and the tags that it sets."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.actors import Actor, ActorKind, check_may_change, not_found
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest
from tracking_gate.http.parsing import parsed_object, values_at
from tracking_gate.mlflow_api.registry_cache import RegistryCache
from tracking_gate.mlflow_api.registry_objects import Json
from tracking_gate.mlflow_api.version_sources import promoted_locations
from tracking_gate.policy.people_changes import (
    EXPERIMENT,
    LOGGED_MODEL,
    NEW_LOGGED_MODEL,
    NEW_TRACE,
    TRACE_INFO,
    ChangedObject,
    ObjectReference,
    PeopleChange,
)
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS, PROJECT_TAG, RESERVED_TAGS, SERVER_TAGS

LARGE: Final = 256 * 1024  # bytes of a body that is parsed in a thread, so that other requests do not wait


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedChange:
    """The body to forward. `gives_run` is true if the request gives a run to a project."""

    body: bytes
    gives_run: bool


class PeopleChangeChecks:
    """Checks a change by the owners of the objects that it changes."""

    def __init__(self, cache: RegistryCache) -> None:
        self._registry = cache.registry
        self._owners = cache.owners

    async def check(
        self, actor: Actor, change: PeopleChange, variables: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> CheckedChange:
        """Return what to forward. Raises Conflict, Forbidden, InvalidRequest, NotFound, Unavailable."""
        fields = (
            await asyncio.to_thread(parsed_object, body, headers) if len(body) > LARGE else parsed_object(body, headers)
        )
        check_ids_agree(fields, variables)
        projects: list[str | None] = []
        for reference in change.objects:
            for value in referenced_ids(reference, fields, variables):
                for project in await self._projects(actor, reference.kind, value):
                    check_may_change(actor, project)
                    projects.append(project)
        await self._check_new_model(change, fields, projects)
        await self._check_assessments(change, fields)
        return CheckedChange(body=experiment_first(change, fields) or body, gives_run=check_tags(actor, change, fields))

    async def _check_new_model(self, change: PeopleChange, fields: Json, projects: list[str | None]) -> None:
        """Check the source run of a new logged model.

        Raises Forbidden if the run is of another project than the experiment, Conflict if the source of a promoted
        version names the run: clients would read the new model's files as files of the version.
        """
        run_id = fields.get("source_run_id")
        if change is not NEW_LOGGED_MODEL or not run_id:
            return
        if len(set(projects)) > 1 and None not in projects:
            raise Forbidden("source_run_id names a run of another project than the experiment")
        for version in (await promoted_locations(self._registry)).values():
            if version.source.lower().startswith("runs:") and run_id in version.source:
                which = f"version {version.version} of {version.name}"
                raise Conflict(f"{which} is promoted, and its source names this run; its files do not change")

    async def _check_assessments(self, change: PeopleChange, fields: Json) -> None:
        """Raise Forbidden if the request names an assessment that its trace does not have.

        MLflow before 3.18 finds an assessment by its id alone, and would move it here from another trace. Every MLflow
        sets one valid again when the assessment that overrides it is deleted. A request for a new trace may name none
        either: another request may have made that trace a moment ago. MLflow's clients name none.
        """
        if change is not NEW_TRACE:
            return
        info = TRACE_INFO.split(".")
        ids = [values_at(fields, [*info, "assessments", "*", key]) for key in ("assessment_id", "overrides")]
        given = {str(one) for found in ids for one in found if one}
        trace_ids = values_at(fields, [*info, "trace_id"])
        known = await self._registry.assessments_of_trace(str(trace_ids[0])) if given and trace_ids else None
        if not given <= (known or set()):
            raise Forbidden("an assessment_id or overrides is not of this trace: leave it out, and MLflow chooses one")

    async def _projects(self, actor: Actor, kind: ChangedObject, value: str) -> list[str | None]:
        if kind is ChangedObject.DATASET:
            experiments = await self._registry.experiments_of_dataset(value)
            if experiments is None:
                raise not_found(actor, "dataset")
            return [await self._project(actor, ChangedObject.EXPERIMENT, experiment) for experiment in experiments]
        return [await self._project(actor, kind, value)]

    async def _project(self, actor: Actor, kind: ChangedObject, value: str) -> str | None:
        """Return the remembered project if the actor owns it; else look it up, as a refusal must not be out of date."""
        key = f"change of a {kind}"
        known = self._owners.get(key, value)
        if known and actor.owns(known):
            return known
        generation = self._owners.generation
        project = await self._looked_up(actor, kind, value)
        self._owners.keep(generation, project, key, value)
        return project

    async def _looked_up(self, actor: Actor, kind: ChangedObject, value: str) -> str | None:
        registry = self._registry
        match kind:
            case ChangedObject.RUN:
                run = await registry.raw_run(value)
                if run is None:
                    raise not_found(actor, "run")
                return await registry.project_of_run(run)
            case ChangedObject.LOGGED_MODEL:
                info = await registry.logged_model(value)
                if info is None:
                    raise not_found(actor, "logged model")
                return await registry.project_of_logged_model(info)
            case ChangedObject.TRACE | ChangedObject.NEW_TRACE:
                experiment = await registry.experiment_of_trace(value)
                if experiment is None and kind is ChangedObject.TRACE:
                    raise not_found(actor, "trace")
                return await registry.project_of_experiment(experiment) if experiment else None
            case _:
                found = await registry.experiment(value)
                if found is None:
                    raise not_found(actor, "experiment")
                return found.project


def referenced_ids(reference: ObjectReference, fields: Json, variables: Mapping[str, str]) -> list[str]:
    """Return the ids of the objects. Raises InvalidRequest if an id is missing or not a string."""
    if reference.path_variable:
        return [variables[reference.keys[0]]]
    found = [value for value in values_at(fields, reference.keys) if value != "" or reference.required]
    if reference.kind is ChangedObject.RUN and reference.keys == ("run_id",):
        found += values_at(fields, ["run_uuid"])
    if any(not isinstance(value, str) or not value for value in found):
        raise InvalidRequest(f"{'.'.join(reference.keys)} must be a string that is not empty")
    if reference.required and not found:
        raise InvalidRequest(f"{'.'.join(reference.keys)} is missing")
    return list(dict.fromkeys(found))


def experiment_first(change: PeopleChange, fields: Json) -> bytes | None:
    """Return the body with the experiment as its first field; None if it is that already, or if there is none.

    MLflow reads a body up to a field that it cannot parse, and takes its default experiment if it has read none.
    """
    (key,) = EXPERIMENT.keys
    if EXPERIMENT not in change.objects or next(iter(fields)) == key:
        return None
    return json.dumps({key: fields[key]} | fields).encode()


def check_ids_agree(fields: Json, variables: Mapping[str, str]) -> None:
    """Raise InvalidRequest if the body has another id than the path: MLflow uses that of the body."""
    aliases = {"trace_id": ("trace_id", "request_id"), "model_id": ("model_id",), "dataset_id": ("dataset_id",)}
    for variable, value in variables.items():
        for key in aliases.get(variable, ()):
            if any(other != value for other in values_at(fields, [key])):
                raise InvalidRequest(f"{key} of the body is not that of the path")


def check_tags(actor: Actor, change: PeopleChange, fields: Json) -> bool:
    """Return True if a tag gives a run to a project. Raises Forbidden for MLflow's own tags and other projects' ids."""
    given = False
    for keys in change.tags:
        values_at(fields, [*keys[:-1], "value"])
        found = values_at(fields, keys)
        for key in [key for value in found for key in (value if isinstance(value, dict) else [value])]:
            if isinstance(key, str):
                given |= check_person_tag(actor, change, key, fields)
    return given


def check_person_tag(actor: Actor, change: PeopleChange, key: str, fields: Json) -> bool:
    if SERVER_TAGS.found(key) or (change.objects == (LOGGED_MODEL,) and RESERVED_TAGS.found(key)):
        raise Forbidden(f"the tag {key} is MLflow's own: its server or its clients rely on it")
    if not OWNERSHIP_TAGS.found(key):
        return False
    if key != TAG_PROJECT_ID:
        if PROJECT_TAG.found(key):
            raise Forbidden(f"write the tag {TAG_PROJECT_ID} as it is")
        return False
    values = tag_values(fields, change, key)
    deletes = change.path.endswith("delete-tag") or (change.path.endswith("set-tag") and not values)
    if deletes and actor.kind is not ActorKind.ADMIN:
        raise Forbidden(f"{key} names the project that owns the run, and cannot be deleted")
    if any(not actor.owns(value) for value in values):
        raise Forbidden(f"the tag {key} names a project that is not yours")
    return True


def tag_values(fields: Json, change: PeopleChange, key: str) -> list[Any]:
    if change.tags == (("key",),):
        return values_at(fields, ["value"])
    tags = values_at(fields, ["tags", "*"])
    return [tag.get("value") for tag in tags if isinstance(tag, dict) and tag.get("key") == key]
