"""Objects of MLflow's answers: versions, registered models, experiments and runs, and the project that owns each.

The project of an object is its tag `mlflow.domino.project_id`, which only the gate writes.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from model_contract.names import TAG_PROJECT_ID
from tracking_gate.mlflow_api.artifact_locations import location_of

Json = dict[str, Any]
ACTIVE_STAGES: Final = ("Staging", "Production")


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """A version of a registered model."""

    name: str
    version: str
    stage: str
    status: str
    source: str
    run_id: str
    model_id: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A registered model: its tags, and the version of each alias."""

    name: str
    tags: Mapping[str, str]
    aliases: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """An experiment; `location` is that of its artifacts, as `location_of` returns it."""

    id: str
    project: str | None
    location: str | None


def parsed_object(body: bytes) -> Json | None:
    """Return the JSON object of an answer's body, None if the body is anything else."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def version_from(found: Json) -> Version:
    return Version(
        name=found["name"],
        version=str(found["version"]),
        stage=found.get("current_stage", "None"),
        status=found.get("status", "READY"),
        source=found.get("source", ""),
        run_id=found.get("run_id", ""),
        model_id=found.get("model_id", ""),
        aliases=tuple(found.get("aliases", ())),
        tags=tags_from(found),
    )


def model_from(found: Json) -> Model:
    aliases = {alias["alias"]: str(alias["version"]) for alias in found.get("aliases", [])}
    return Model(name=found["name"], tags=tags_from(found), aliases=aliases)


def experiment_from(found: Json) -> Experiment:
    location = location_of(found.get("artifact_location", ""))
    return Experiment(id=str(found["experiment_id"]), project=tags_from(found).get(TAG_PROJECT_ID), location=location)


def tags_from(found: Json) -> dict[str, str]:
    return {tag["key"]: tag.get("value", "") for tag in found.get("tags", [])}


def experiment_id_of_run(run: Json) -> str:
    """Return the experiment of a run, which is given as MLflow's whole answer."""
    return str(run["run"]["info"]["experiment_id"])


def own_project_of_run(run: Json) -> str | None:
    """Return the project of the run's own tag; its experiment may have another."""
    return tags_from(run["run"].get("data", {})).get(TAG_PROJECT_ID)


def location_of_run(run: Json) -> str | None:
    """Return the location of the run's artifacts, as `location_of` does."""
    return location_of(run["run"]["info"].get("artifact_uri", ""))
