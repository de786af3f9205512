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
from tracking_gate.actors import Actor, Kind
from tracking_gate.errors import Conflict, Forbidden, InvalidRequest
from tracking_gate.http.parsing import object_of, values_at
from tracking_gate.mlflow_api.registry import Json, Registry
from tracking_gate.mlflow_api.registry_cache import Owners
from tracking_gate.mlflow_api.version_sources import promoted_places
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS, RESERVED_TAGS, SERVER_TAGS
from tracking_gate.rights import check_changeable, missing

LARGE: Final = 256 * 1024  # bytes of a body that is read in a thread: the other requests do not wait for it
NEW_LOGGED_MODEL: Final = ("POST", "/API/2.0/mlflow/logged-models")


class Changed(StrEnum):
    """The kind of an object that a request changes."""

    RUN = "run"
    EXPERIMENT = "experiment"
    LOGGED_MODEL = "logged model"
    TRACE = "trace"
    NEW_TRACE = "new trace"  # its own, or one that is there already: MLflow merges them
    DATASET = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An object that a request changes, and the path of the keys that name it; `path_variable` if it
    stands in the URL.
    """

    kind: Changed
    at: tuple[str, ...]
    required: bool = True
    path_variable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An entry. `tags` are the places of the tags that it sets."""

    method: str
    path: str
    named: tuple[Named, ...]
    tags: tuple[tuple[str, ...], ...] = ()


def _at(kind: Changed, path: str, *, required: bool = True) -> Named:
    return Named(kind=kind, at=tuple(path.split(".")), required=required)


def _of_path(kind: Changed, variable: str) -> Named:
    return Named(kind=kind, at=(variable,), path_variable=True)


def _change(method: str, path: str, *named: Named, tags: Sequence[str] = ()) -> Change:
    return Change(method=method, path=path, named=named, tags=tuple(tuple(place.split(".")) for place in tags))


RUN: Final = _at(Changed.RUN, "run_id")
EXPERIMENT: Final = _at(Changed.EXPERIMENT, "experiment_id")
LOGGED_MODEL: Final = _of_path(Changed.LOGGED_MODEL, "model_id")
TRACE: Final = _of_path(Changed.TRACE, "trace_id")
DATASET: Final = _of_path(Changed.DATASET, "dataset_id")
EXPERIMENTS: Final = _at(Changed.EXPERIMENT, "experiment_ids.*", required=False)
V2: Final = "/API/2.0/mlflow"
V3: Final = "/API/3.0/mlflow"
NEW_TRACE: Final = "trace.trace_info"
CHANGES: Final = (
    _change("POST", f"{V2}/experiments/restore", EXPERIMENT),
    _change("POST", f"{V2}/experiments/update", EXPERIMENT),
    _change("POST", f"{V2}/runs/create", EXPERIMENT, tags=["tags.*.key"]),
    _change("POST", f"{V2}/runs/update", RUN),
    _change("POST", f"{V2}/runs/restore", RUN),
    _change("POST", f"{V2}/runs/set-tag", RUN, tags=["key"]),
    _change("POST", f"{V2}/runs/delete-tag", RUN, tags=["key"]),
    _change("POST", f"{V2}/runs/log-metric", RUN, _at(Changed.LOGGED_MODEL, "model_id", required=False)),
    _change("POST", f"{V2}/runs/log-parameter", RUN),
    _change(
        "POST",
        f"{V2}/runs/log-batch",
        RUN,
        _at(Changed.LOGGED_MODEL, "metrics.*.model_id", required=False),
        tags=["tags.*.key"],
    ),
    _change("POST", f"{V2}/runs/log-model", RUN),
    _change("POST", f"{V2}/runs/log-inputs", RUN),
    _change("POST", f"{V2}/runs/outputs", RUN, _at(Changed.LOGGED_MODEL, "models.*.model_id", required=False)),
    _change(
        "POST",
        f"{V2}/logged-models",
        EXPERIMENT,
        _at(Changed.RUN, "source_run_id", required=False),
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
    _change("POST", f"{V2}/traces/link-to-run", RUN, _at(Changed.TRACE, "trace_ids.*")),
    _change("POST", f"{V2}/traces/link-prompts", _at(Changed.TRACE, "trace_id")),
    _change(
        "POST",
        f"{V3}/traces",
        _at(Changed.EXPERIMENT, f"{NEW_TRACE}.trace_location.mlflow_experiment.experiment_id"),
        _at(Changed.NEW_TRACE, f"{NEW_TRACE}.trace_id", required=False),
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


class Changes:
    """Judges a change by the owners of what it changes."""

    def __init__(self, registry: Registry, owners: Owners) -> None:
        self._registry = registry
        self._owners = owners

    async def check(
        self, actor: Actor, change: Change, variables: Mapping[str, str], headers: Mapping[str, str], body: bytes
    ) -> bool:
        """Return True if the request gives a run to a project.

        Raise Conflict, Forbidden, InvalidRequest, NotFound, Unavailable.
        """
        fields = await asyncio.to_thread(object_of, body, headers) if len(body) > LARGE else object_of(body, headers)
        check_same(fields, variables)
        projects: list[str | None] = []
        for named in change.named:
            for value in names_of(named, fields, variables):
                for project in await self._projects(actor, named.kind, value):
                    check_changeable(actor, project)
                    projects.append(project)
        await self._check_new_model(change, fields, projects)
        return check_tags(actor, change, fields)

    async def _check_new_model(self, change: Change, fields: Json, projects: list[str | None]) -> None:
        """A run's logged model is of the run's project, and adds nothing to what a promoted version of the run is read
        as.
        """
        run_id = fields.get("source_run_id")
        if (change.method, change.path) != NEW_LOGGED_MODEL or not run_id:
            return
        if len(set(projects)) > 1 and None not in projects:
            raise Forbidden("source_run_id names a run of another project than the experiment")
        for version in (await promoted_places(self._registry)).values():
            if version.source.lower().startswith("runs:") and run_id in version.source:
                which = f"version {version.version} of {version.name}"
                raise Conflict(f"{which} is promoted, and its source names this run; its files do not change")

    async def _projects(self, actor: Actor, kind: Changed, value: str) -> list[str | None]:
        if kind is Changed.DATASET:
            experiments = await self._registry.experiments_of_dataset(value)
            if experiments is None:
                raise missing(actor, "dataset")
            return [await self._project(actor, Changed.EXPERIMENT, experiment) for experiment in experiments]
        return [await self._project(actor, kind, value)]

    async def _project(self, actor: Actor, kind: Changed, value: str) -> str | None:
        """What is known is taken where it lets the change through; a refusal is always MLflow's word of now."""
        key = f"change of a {kind}"
        known = self._owners.of(key, value)
        if known and actor.owns(known):
            return known
        changes = self._owners.changes
        project = await self._asked(actor, kind, value)
        self._owners.keep(changes, project, key, value)
        return project

    async def _asked(self, actor: Actor, kind: Changed, value: str) -> str | None:
        registry = self._registry
        match kind:
            case Changed.RUN:
                run = await registry.raw_run(value)
                if run is None:
                    raise missing(actor, "run")
                return await registry.project_of_raw_run(run)
            case Changed.LOGGED_MODEL:
                info = await registry.logged_model(value)
                if info is None:
                    raise missing(actor, "logged model")
                return await registry.project_of_info(info)
            case Changed.TRACE | Changed.NEW_TRACE:
                experiment = await registry.experiment_of_trace(value)
                if experiment is None and kind is Changed.TRACE:
                    raise missing(actor, "trace")
                return await registry.project_of_experiment(experiment) if experiment else None
            case _:
                found = await registry.experiment(value)
                if found is None:
                    raise missing(actor, "experiment")
                return found.project


def names_of(named: Named, fields: Json, variables: Mapping[str, str]) -> list[str]:
    """Return the ids of the objects. Raise InvalidRequest if one is missing or is no text."""
    if named.path_variable:
        return [variables[named.at[0]]]
    found = [value for value in values_at(fields, named.at) if value != "" or named.required]
    if named.kind is Changed.RUN and named.at == ("run_id",):
        found += values_at(fields, ["run_uuid"])
    if any(not isinstance(value, str) or not value for value in found):
        raise InvalidRequest(f"{'.'.join(named.at)} must be a string that is not empty")
    if named.required and not found:
        raise InvalidRequest(f"{'.'.join(named.at)} is missing")
    return list(dict.fromkeys(found))


def check_same(fields: Json, variables: Mapping[str, str]) -> None:
    """MLflow reads some ids of a path from the body again, and goes by that."""
    aliases = {"trace_id": ("trace_id", "request_id"), "model_id": ("model_id",), "dataset_id": ("dataset_id",)}
    for variable, value in variables.items():
        for key in aliases.get(variable, ()):
            if any(other != value for other in values_at(fields, [key])):
                raise InvalidRequest(f"{key} of the body is not that of the path")


def check_tags(actor: Actor, change: Change, fields: Json) -> bool:
    """Return True if a tag says whose a run is. Raise Forbidden for tags that are MLflow's own or name
    another project.
    """
    given = False
    for place in change.tags:
        values_at(fields, [*place[:-1], "value"])
        found = values_at(fields, place)
        for key in [key for value in found for key in (value if isinstance(value, dict) else [value])]:
            if isinstance(key, str):
                given |= check_tag_of_people(actor, change, key, fields)
    return given


def check_tag_of_people(actor: Actor, change: Change, key: str, fields: Json) -> bool:
    if SERVER_TAGS.fullmatch(key) or (RESERVED_TAGS.fullmatch(key) and change.named == (LOGGED_MODEL,)):
        raise Forbidden(f"the tag {key} is MLflow's own: its server or its clients go by it")
    if not OWNERSHIP_TAGS.fullmatch(key):
        return False
    if key != TAG_PROJECT_ID:
        if key.casefold() == TAG_PROJECT_ID.casefold():
            raise Forbidden(f"write the tag {TAG_PROJECT_ID} as it is")
        return False
    values = tag_values(fields, change, key)
    if change.path.endswith("delete-tag") and actor.kind is not Kind.ADMIN:
        raise Forbidden(f"{key} says whose a run is, and stays")
    if any(not actor.owns(value) for value in values):
        raise Forbidden(f"the tag {key} names a project that is not yours")
    return True


def tag_values(fields: Json, change: Change, key: str) -> list[Any]:
    if change.tags == (("key",),):
        return values_at(fields, ["value"])
    tags = values_at(fields, ["tags", "*"])
    return [tag.get("value") for tag in tags if isinstance(tag, dict) and tag.get("key") == key]
