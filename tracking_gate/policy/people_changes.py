"""Changes by people that pass through as they are: runs, experiments, logged models, traces, datasets.

Each entry says which objects its request changes, and where it names them. A person changes what is of a project of
theirs, or of none.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.actors import Actor, ActorKind
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest
from tracking_gate.http.parsing import parsed_object, values_at
from tracking_gate.mlflow_api.registry import Json, Registry
from tracking_gate.mlflow_api.registry_cache import OwnerCache
from tracking_gate.mlflow_api.version_sources import promoted_locations
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS, RESERVED_TAGS, SERVER_TAGS
from tracking_gate.rights import check_changeable, not_found

LARGE: Final = 256 * 1024  # bytes of a body that is read in a thread: the other requests do not wait for it
NEW_LOGGED_MODEL: Final = ("POST", "/API/2.0/mlflow/logged-models")


class ChangedKind(StrEnum):
    """The kind of an object that a request changes."""

    RUN = "run"
    EXPERIMENT = "experiment"
    LOGGED_MODEL = "logged model"
    TRACE = "trace"
    NEW_TRACE = "new trace"  # its own, or one that is there already: MLflow merges them
    DATASET = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    """An object that a request changes, and the path of the keys that name it; `path_variable` if it
    stands in the URL.
    """

    kind: ChangedKind
    at: tuple[str, ...]
    required: bool = True
    path_variable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleChange:
    """An entry. `tags` are the places of the tags that it sets."""

    method: str
    path: str
    named: tuple[ObjectReference, ...]
    tags: tuple[tuple[str, ...], ...] = ()


def _at(kind: ChangedKind, path: str, *, required: bool = True) -> ObjectReference:
    return ObjectReference(kind=kind, at=tuple(path.split(".")), required=required)


def _of_path(kind: ChangedKind, variable: str) -> ObjectReference:
    return ObjectReference(kind=kind, at=(variable,), path_variable=True)


def _change(method: str, path: str, *named: ObjectReference, tags: Sequence[str] = ()) -> PeopleChange:
    return PeopleChange(
        method=method, path=path, named=named, tags=tuple(tuple(location.split(".")) for location in tags)
    )


RUN: Final = _at(ChangedKind.RUN, "run_id")
EXPERIMENT: Final = _at(ChangedKind.EXPERIMENT, "experiment_id")
LOGGED_MODEL: Final = _of_path(ChangedKind.LOGGED_MODEL, "model_id")
TRACE: Final = _of_path(ChangedKind.TRACE, "trace_id")
DATASET: Final = _of_path(ChangedKind.DATASET, "dataset_id")
EXPERIMENTS: Final = _at(ChangedKind.EXPERIMENT, "experiment_ids.*", required=False)
V2: Final = "/API/2.0/mlflow"
V3: Final = "/API/3.0/mlflow"
NEW_TRACE: Final = "trace.trace_info"
PEOPLE_CHANGES: Final = (
    _change("POST", f"{V2}/experiments/restore", EXPERIMENT),
    _change("POST", f"{V2}/experiments/update", EXPERIMENT),
    _change("POST", f"{V2}/runs/create", EXPERIMENT, tags=["tags.*.key"]),
    _change("POST", f"{V2}/runs/update", RUN),
    _change("POST", f"{V2}/runs/restore", RUN),
    _change("POST", f"{V2}/runs/set-tag", RUN, tags=["key"]),
    _change("POST", f"{V2}/runs/delete-tag", RUN, tags=["key"]),
    _change("POST", f"{V2}/runs/log-metric", RUN, _at(ChangedKind.LOGGED_MODEL, "model_id", required=False)),
    _change("POST", f"{V2}/runs/log-parameter", RUN),
    _change(
        "POST",
        f"{V2}/runs/log-batch",
        RUN,
        _at(ChangedKind.LOGGED_MODEL, "metrics.*.model_id", required=False),
        tags=["tags.*.key"],
    ),
    _change("POST", f"{V2}/runs/log-model", RUN),
    _change("POST", f"{V2}/runs/log-inputs", RUN),
    _change("POST", f"{V2}/runs/outputs", RUN, _at(ChangedKind.LOGGED_MODEL, "models.*.model_id", required=False)),
    _change(
        "POST",
        f"{V2}/logged-models",
        EXPERIMENT,
        _at(ChangedKind.RUN, "source_run_id", required=False),
        tags=["tags.*.key"],
    ),
    _change("PATCH", f"{V2}/logged-models/<model_id>", LOGGED_MODEL),
    _change("POST", f"{V2}/logged-models/<model_id>/params", LOGGED_MODEL),
    _change("PATCH", f"{V2}/logged-models/<model_id>/tags", LOGGED_MODEL, tags=["tags.*.key"]),
    _change("DELETE", f"{V2}/logged-models/<model_id>/tags/<key>", LOGGED_MODEL),
    _change("POST", f"{V2}/traces", EXPERIMENT, tags=["tags.*.key"]),
    _change("PATCH", f"{V2}/traces/<trace_id>", TRACE, tags=["tags.*.key"]),
    _change("PATCH", f"{V2}/traces/<trace_id>/tags", TRACE, tags=["key"]),
    _change("DELETE", f"{V2}/traces/<trace_id>/tags", TRACE, tags=["key"]),
    _change("POST", f"{V2}/traces/delete-traces", EXPERIMENT),
    _change("POST", f"{V2}/traces/link-to-run", RUN, _at(ChangedKind.TRACE, "trace_ids.*")),
    _change("POST", f"{V2}/traces/link-prompts", _at(ChangedKind.TRACE, "trace_id")),
    _change(
        "POST",
        f"{V3}/traces",
        _at(ChangedKind.EXPERIMENT, f"{NEW_TRACE}.trace_location.mlflow_experiment.experiment_id"),
        _at(ChangedKind.NEW_TRACE, f"{NEW_TRACE}.trace_id", required=False),
        tags=[f"{NEW_TRACE}.tags"],
    ),
    _change("PATCH", f"{V3}/traces/<trace_id>/tags", TRACE, tags=["key"]),
    _change("DELETE", f"{V3}/traces/<trace_id>/tags", TRACE, tags=["key"]),
    _change("POST", f"{V3}/traces/delete-traces", EXPERIMENT),
    *(_change("POST", f"{root}/traces/<trace_id>/assessments", TRACE) for root in (V2, V3)),
    *(
        _change(method, f"{root}/traces/<trace_id>/assessments/<assessment_id>", TRACE)
        for root in (V2, V3)
        for method in ("PATCH", "DELETE")
    ),
    _change("POST", f"{V3}/datasets/create", EXPERIMENTS),
    _change("DELETE", f"{V3}/datasets/<dataset_id>", DATASET),
    _change("POST", f"{V3}/datasets/<dataset_id>/records", DATASET),
    _change("DELETE", f"{V3}/datasets/<dataset_id>/records", DATASET),
    _change("PATCH", f"{V3}/datasets/<dataset_id>/tags", DATASET),
    _change("DELETE", f"{V3}/datasets/<dataset_id>/tags/<key>", DATASET),
    _change("POST", f"{V3}/datasets/<dataset_id>/add-experiments", DATASET, EXPERIMENTS),
    _change("POST", f"{V3}/datasets/<dataset_id>/remove-experiments", DATASET, EXPERIMENTS),
)


class PeopleChangeChecks:
    """Judges a change by the owners of what it changes."""

    def __init__(self, registry: Registry, owners: OwnerCache) -> None:
        self._registry = registry
        self._owners = owners

    async def check(
        self, actor: Actor, change: PeopleChange, variables: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Return True if the request gives a run to a project.

        Raise Conflict, Forbidden, InvalidRequest, NotFound, Unavailable.
        """
        fields = (
            await asyncio.to_thread(parsed_object, body, headers) if len(body) > LARGE else parsed_object(body, headers)
        )
        check_ids_agree(fields, variables)
        projects: list[str | None] = []
        for named in change.named:
            for value in referenced_ids(named, fields, variables):
                for project in await self._projects(actor, named.kind, value):
                    check_changeable(actor, project)
                    projects.append(project)
        await self._check_new_model(change, fields, projects)
        return check_tags(actor, change, fields)

    async def _check_new_model(self, change: PeopleChange, fields: Json, projects: list[str | None]) -> None:
        """A run's logged model is of the run's project, and adds nothing to what a promoted version of the run is read
        as.
        """
        run_id = fields.get("source_run_id")
        if (change.method, change.path) != NEW_LOGGED_MODEL or not run_id:
            return
        if len(set(projects)) > 1 and None not in projects:
            raise Forbidden("source_run_id names a run of another project than the experiment")
        for version in (await promoted_locations(self._registry)).values():
            if version.source.lower().startswith("runs:") and run_id in version.source:
                which = f"version {version.version} of {version.name}"
                raise Conflict(f"{which} is promoted, and its source names this run; its files do not change")

    async def _projects(self, actor: Actor, kind: ChangedKind, value: str) -> list[str | None]:
        if kind is ChangedKind.DATASET:
            experiments = await self._registry.experiments_of_dataset(value)
            if experiments is None:
                raise not_found(actor, "dataset")
            return [await self._project(actor, ChangedKind.EXPERIMENT, experiment) for experiment in experiments]
        return [await self._project(actor, kind, value)]

    async def _project(self, actor: Actor, kind: ChangedKind, value: str) -> str | None:
        """What is known is taken where it lets the change through; a refusal is always MLflow's word of now."""
        key = f"change of a {kind}"
        known = self._owners.of(key, value)
        if known and actor.owns(known):
            return known
        changes = self._owners.changes
        project = await self._asked(actor, kind, value)
        self._owners.keep(changes, project, key, value)
        return project

    async def _asked(self, actor: Actor, kind: ChangedKind, value: str) -> str | None:
        registry = self._registry
        match kind:
            case ChangedKind.RUN:
                run = await registry.raw_run(value)
                if run is None:
                    raise not_found(actor, "run")
                return await registry.project_of_raw_run(run)
            case ChangedKind.LOGGED_MODEL:
                info = await registry.logged_model(value)
                if info is None:
                    raise not_found(actor, "logged model")
                return await registry.project_of_info(info)
            case ChangedKind.TRACE | ChangedKind.NEW_TRACE:
                experiment = await registry.experiment_of_trace(value)
                if experiment is None and kind is ChangedKind.TRACE:
                    raise not_found(actor, "trace")
                return await registry.project_of_experiment(experiment) if experiment else None
            case _:
                found = await registry.experiment(value)
                if found is None:
                    raise not_found(actor, "experiment")
                return found.project


def referenced_ids(named: ObjectReference, fields: Json, variables: Mapping[str, str]) -> list[str]:
    """Return the ids of the objects. Raise InvalidRequest if one is missing or is no text."""
    if named.path_variable:
        return [variables[named.at[0]]]
    found = [value for value in values_at(fields, named.at) if value != "" or named.required]
    if named.kind is ChangedKind.RUN and named.at == ("run_id",):
        found += values_at(fields, ["run_uuid"])
    if any(not isinstance(value, str) or not value for value in found):
        raise InvalidRequest(f"{'.'.join(named.at)} must be a string that is not empty")
    if named.required and not found:
        raise InvalidRequest(f"{'.'.join(named.at)} is missing")
    return list(dict.fromkeys(found))


def check_ids_agree(fields: Json, variables: Mapping[str, str]) -> None:
    """MLflow reads some ids of a path from the body again, and goes by that."""
    aliases = {"trace_id": ("trace_id", "request_id"), "model_id": ("model_id",), "dataset_id": ("dataset_id",)}
    for variable, value in variables.items():
        for key in aliases.get(variable, ()):
            if any(other != value for other in values_at(fields, [key])):
                raise InvalidRequest(f"{key} of the body is not that of the path")


def check_tags(actor: Actor, change: PeopleChange, fields: Json) -> bool:
    """Return True if a tag says whose a run is. Raise Forbidden for tags that are MLflow's own or name
    another project.
    """
    given = False
    for location in change.tags:
        values_at(fields, [*location[:-1], "value"])
        found = values_at(fields, location)
        for key in [key for value in found for key in (value if isinstance(value, dict) else [value])]:
            if isinstance(key, str):
                given |= check_person_tag(actor, change, key, fields)
    return given


def check_person_tag(actor: Actor, change: PeopleChange, key: str, fields: Json) -> bool:
    if SERVER_TAGS.fullmatch(key) or (RESERVED_TAGS.fullmatch(key) and change.named == (LOGGED_MODEL,)):
        raise Forbidden(f"the tag {key} is MLflow's own: its server or its clients go by it")
    if not OWNERSHIP_TAGS.fullmatch(key):
        return False
    if key != TAG_PROJECT_ID:
        if key.casefold() == TAG_PROJECT_ID.casefold():
            raise Forbidden(f"write the tag {TAG_PROJECT_ID} as it is")
        return False
    values = tag_values(fields, change, key)
    if change.path.endswith("delete-tag") and actor.kind is not ActorKind.ADMIN:
        raise Forbidden(f"{key} says whose a run is, and stays")
    if any(not actor.owns(value) for value in values):
        raise Forbidden(f"the tag {key} names a project that is not yours")
    return True


def tag_values(fields: Json, change: PeopleChange, key: str) -> list[Any]:
    if change.tags == (("key",),):
        return values_at(fields, ["value"])
    tags = values_at(fields, ["tags", "*"])
    return [tag.get("value") for tag in tags if isinstance(tag, dict) and tag.get("key") == key]
