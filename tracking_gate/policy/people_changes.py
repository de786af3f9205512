"""Changes by people that are forwarded unchanged: of runs, experiments, logged models, traces and datasets.

Each entry names the objects that its request changes, and the fields of the body or the path that hold their ids. A
person changes an object of an own project, or of none.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from tracking_gate.policy.route_patterns import V2, V3


class ChangedObject(StrEnum):
    """The kind of an object that a request changes."""

    RUN = "run"
    EXPERIMENT = "experiment"
    LOGGED_MODEL = "logged model"
    TRACE = "trace"
    NEW_TRACE = "new trace"  # or a trace that exists: MLflow merges the new one with it, or links it
    DATASET = "dataset"


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectReference:
    """An object that a request changes: its id is at `keys` of the body, or in a variable of the path."""

    kind: ChangedObject
    keys: tuple[str, ...]
    required: bool = True
    path_variable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleChange:
    """An entry; `tags` are the paths of keys of the body that hold the keys of tags."""

    method: str
    path: str
    objects: tuple[ObjectReference, ...]
    tags: tuple[tuple[str, ...], ...] = ()


def _in_body(kind: ChangedObject, path: str, *, required: bool = True) -> ObjectReference:
    return ObjectReference(kind=kind, keys=tuple(path.split(".")), required=required)


def _in_path(kind: ChangedObject, variable: str) -> ObjectReference:
    return ObjectReference(kind=kind, keys=(variable,), path_variable=True)


def _change(method: str, path: str, *objects: ObjectReference, tags: Sequence[str] = ()) -> PeopleChange:
    return PeopleChange(method=method, path=path, objects=objects, tags=tuple(tuple(keys.split(".")) for keys in tags))


RUN: Final = _in_body(ChangedObject.RUN, "run_id")
EXPERIMENT: Final = _in_body(ChangedObject.EXPERIMENT, "experiment_id")
LOGGED_MODEL: Final = _in_path(ChangedObject.LOGGED_MODEL, "model_id")
TRACE: Final = _in_path(ChangedObject.TRACE, "trace_id")
DATASET: Final = _in_path(ChangedObject.DATASET, "dataset_id")
EXPERIMENTS: Final = _in_body(ChangedObject.EXPERIMENT, "experiment_ids.*", required=False)
TRACE_INFO: Final = "trace.trace_info"
NEW_LOGGED_MODEL: Final = _change(
    "POST",
    f"{V2}/logged-models",
    EXPERIMENT,
    _in_body(ChangedObject.RUN, "source_run_id", required=False),
    tags=["tags.*.key"],
)
NEW_TRACE: Final = _change(
    "POST",
    f"{V3}/traces",
    _in_body(ChangedObject.EXPERIMENT, f"{TRACE_INFO}.trace_location.mlflow_experiment.experiment_id"),
    _in_body(ChangedObject.NEW_TRACE, f"{TRACE_INFO}.trace_id", required=False),
    tags=[f"{TRACE_INFO}.tags"],
)
PEOPLE_CHANGES: Final = (
    _change("POST", f"{V2}/experiments/restore", EXPERIMENT),
    _change("POST", f"{V2}/experiments/update", EXPERIMENT),
    _change("POST", f"{V2}/runs/create", EXPERIMENT, tags=["tags.*.key"]),
    _change("POST", f"{V2}/runs/update", RUN),
    _change("POST", f"{V2}/runs/restore", RUN),
    _change("POST", f"{V2}/runs/set-tag", RUN, tags=["key"]),
    _change("POST", f"{V2}/runs/delete-tag", RUN, tags=["key"]),
    _change("POST", f"{V2}/runs/log-metric", RUN, _in_body(ChangedObject.LOGGED_MODEL, "model_id", required=False)),
    _change("POST", f"{V2}/runs/log-parameter", RUN),
    _change(
        "POST",
        f"{V2}/runs/log-batch",
        RUN,
        _in_body(ChangedObject.LOGGED_MODEL, "metrics.*.model_id", required=False),
        tags=["tags.*.key"],
    ),
    _change("POST", f"{V2}/runs/log-model", RUN),
    _change("POST", f"{V2}/runs/log-inputs", RUN),
    _change(
        "POST", f"{V2}/runs/outputs", RUN, _in_body(ChangedObject.LOGGED_MODEL, "models.*.model_id", required=False)
    ),
    NEW_LOGGED_MODEL,
    _change("PATCH", f"{V2}/logged-models/<model_id>", LOGGED_MODEL),
    _change("POST", f"{V2}/logged-models/<model_id>/params", LOGGED_MODEL),
    _change("PATCH", f"{V2}/logged-models/<model_id>/tags", LOGGED_MODEL, tags=["tags.*.key"]),
    _change("DELETE", f"{V2}/logged-models/<model_id>/tags/<key>", LOGGED_MODEL),
    _change("POST", f"{V2}/traces", EXPERIMENT, tags=["tags.*.key"]),
    _change("PATCH", f"{V2}/traces/<trace_id>", TRACE, tags=["tags.*.key"]),
    _change("PATCH", f"{V2}/traces/<trace_id>/tags", TRACE, tags=["key"]),
    _change("DELETE", f"{V2}/traces/<trace_id>/tags", TRACE, tags=["key"]),
    _change("POST", f"{V2}/traces/delete-traces", EXPERIMENT),
    # MLflow's clients send traces in the background, and its evaluation links them before they have arrived.
    _change("POST", f"{V2}/traces/link-to-run", RUN, _in_body(ChangedObject.NEW_TRACE, "trace_ids.*")),
    _change("POST", f"{V2}/traces/link-prompts", _in_body(ChangedObject.TRACE, "trace_id")),
    NEW_TRACE,
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
