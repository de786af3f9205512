"""Guarded operations of MLflow, one entry each: how it is asked for, its fields, the rule that decides, and what it may
change.

Routes, parsing, rules and what the gate forgets afterwards derive from this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tracking_gate.http.parsing import Field, alias, flag, listed, name, number, stage, text, texts, version
from tracking_gate.http.parsing import tags as list_of_tags
from tracking_gate.policy.guarded_request import Rule
from tracking_gate.policy.rules import creation as making
from tracking_gate.policy.rules import existing_objects as rules
from tracking_gate.policy.rules import tags

REGISTRY: Final = "/API/2.0/mlflow"
NAME: Final = Field(read=name)
TEXT: Final = Field(read=text)
OPTIONAL: Final = Field(read=text, required=False)
TAGS: Final = Field(read=list_of_tags, required=False)
OF_VERSION: Final = {"name": NAME, "version": Field(read=version)}
TAG: Final = {"key": TEXT, "value": OPTIONAL}


class Invalidates(Enum):
    """What an operation changes of what the gate remembers."""

    NOTHING = auto()
    TAG = auto()  # the owners of objects, if it is a tag of ownership
    PROMOTED = auto()  # which files are promoted
    ALL = auto()  # that, and the owners of objects


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An entry. `path` is below MLflow's API."""

    name: str
    method: str
    path: str
    fields: Mapping[str, Field]
    rule: Rule
    invalidates: Invalidates = Invalidates.ALL

    @property
    def questions(self) -> int:
        """The most questions that tell a token's own object from another's: a version, its model, its run, the run's
        experiment.
        """
        return 4 if "version" in self.fields else 1

    @property
    def route(self) -> str:
        return f"{REGISTRY}/{self.path}"


def _operation(
    name: str, request: str, fields: Mapping[str, Field], rule: Rule, invalidates: Invalidates = Invalidates.ALL
) -> Operation:
    """`request` is the method and the path."""
    method, path = request.split(" ")
    return Operation(name=name, method=method, path=path, fields=fields, rule=rule, invalidates=invalidates)


MOVE: Final = {**OF_VERSION, "stage": Field(read=stage), "archive_existing_versions": Field(read=flag, required=False)}
NEW_VERSION: Final = {
    "name": NAME,
    "source": TEXT,
    "run_id": OPTIONAL,
    "model_id": OPTIONAL,
    "tags": TAGS,
    "run_link": OPTIONAL,
    "description": OPTIONAL,
}
LOGGED_MODELS: Final = {
    "experiment_ids": Field(read=texts, required=False),
    "filter": OPTIONAL,
    "datasets": Field(read=listed, required=False),
    "max_results": Field(read=number, required=False),
    "order_by": Field(read=listed, required=False),
    "page_token": OPTIONAL,
}
DESCRIPTION: Final = {"description": OPTIONAL, "deployment_job_id": OPTIONAL}
EXPERIMENT: Final = {"experiment_id": TEXT}
ALIAS: Final = {"alias": Field(read=alias)}
ALL_OPERATIONS: Final = (
    _operation(
        "transition_stage", "POST model-versions/transition-stage", MOVE, rules.transition_stage, Invalidates.PROMOTED
    ),
    _operation("set_alias", "POST registered-models/alias", OF_VERSION | ALIAS, rules.set_alias, Invalidates.PROMOTED),
    _operation(
        "delete_alias",
        "DELETE registered-models/alias",
        {"name": NAME} | ALIAS,
        rules.delete_alias,
        Invalidates.PROMOTED,
    ),
    _operation(
        "set_version_tag", "POST model-versions/set-tag", OF_VERSION | TAG, tags.set_version_tag, Invalidates.TAG
    ),
    _operation(
        "delete_version_tag",
        "DELETE model-versions/delete-tag",
        {**OF_VERSION, "key": TEXT},
        tags.delete_version_tag,
        Invalidates.TAG,
    ),
    _operation(
        "set_model_tag", "POST registered-models/set-tag", {"name": NAME} | TAG, tags.change_model_tag, Invalidates.ALL
    ),
    _operation(
        "delete_model_tag",
        "DELETE registered-models/delete-tag",
        {"name": NAME, "key": TEXT},
        tags.delete_model_tag,
        Invalidates.ALL,
    ),
    _operation(
        "create_model", "POST registered-models/create", {"name": NAME, "tags": TAGS} | DESCRIPTION, making.create_model
    ),
    _operation("update_model", "PATCH registered-models/update", {"name": NAME} | DESCRIPTION, rules.update_object),
    _operation("rename_model", "POST registered-models/rename", {"name": NAME, "new_name": NAME}, rules.rename_model),
    _operation("delete_model", "DELETE registered-models/delete", {"name": NAME}, rules.delete_model),
    _operation(
        "latest_versions",
        "POST registered-models/get-latest-versions",
        {"name": NAME, "stages": Field(read=texts, required=False)},
        rules.latest_versions,
        Invalidates.NOTHING,
    ),
    _operation("create_version", "POST model-versions/create", NEW_VERSION, making.create_version),
    _operation(
        "update_version", "PATCH model-versions/update", {**OF_VERSION, "description": OPTIONAL}, rules.update_object
    ),
    _operation("delete_version", "DELETE model-versions/delete", OF_VERSION, rules.delete_version),
    _operation(
        "create_experiment",
        "POST experiments/create",
        {"name": TEXT, "artifact_location": OPTIONAL, "tags": TAGS},
        making.create_experiment,
    ),
    _operation(
        "set_experiment_tag", "POST experiments/set-experiment-tag", EXPERIMENT | TAG, tags.change_experiment_tag
    ),
    _operation(
        "delete_experiment_tag",
        "POST experiments/delete-experiment-tag",
        {**EXPERIMENT, "key": TEXT},
        tags.change_experiment_tag,
    ),
    _operation("delete_experiment", "POST experiments/delete", EXPERIMENT, rules.delete_experiment),
    _operation("delete_run", "POST runs/delete", {"run_id": TEXT}, rules.delete_run),
    _operation(
        "search_logged_models",
        "POST logged-models/search",
        LOGGED_MODELS,
        rules.search_logged_models,
        Invalidates.NOTHING,
    ),
)
OPERATIONS: Final[Mapping[str, Operation]] = {operation.name: operation for operation in ALL_OPERATIONS}
