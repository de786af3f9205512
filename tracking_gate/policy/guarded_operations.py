"""The guarded operations of MLflow, one entry each.

Routes, parsing of bodies, rules, the audit log's promises and what the cache forgets derive from this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracking_gate.http.parsing import Field
from tracking_gate.mlflow_api.registry_cache import Invalidates
from tracking_gate.policy import fields
from tracking_gate.policy.guarded_request import Json, Rule
from tracking_gate.policy.route_patterns import V2
from tracking_gate.policy.rules import creation, existing_objects, promotion, tags
from tracking_gate.policy.rules.tags import OWNERSHIP_TAGS

NAME: Final = Field(read=fields.name)
TEXT: Final = Field(read=fields.text)
OPTIONAL: Final = Field(read=fields.text, required=False)
TAGS: Final = Field(read=fields.tags, required=False)
MODEL: Final = {"name": NAME}
VERSION: Final = {"name": NAME, "version": Field(read=fields.version)}
EXPERIMENT: Final = {"experiment_id": TEXT}
LOGGED_MODEL: Final = {"model_id": TEXT}
TAG: Final = {"key": TEXT, "value": OPTIONAL}
TAG_KEY: Final = {"key": TEXT}
ALIAS: Final = {"alias": Field(read=fields.alias)}
DESCRIPTION: Final = {"description": OPTIONAL, "deployment_job_id": OPTIONAL}
MOVE: Final = {
    "stage": Field(read=fields.stage),
    "archive_existing_versions": Field(read=fields.flag, required=False),
}
NEW_VERSION: Final = {
    "source": TEXT,
    "run_id": OPTIONAL,
    "model_id": OPTIONAL,
    "tags": TAGS,
    "run_link": OPTIONAL,
    "description": OPTIONAL,
}
LOGGED_MODELS: Final = {
    "experiment_ids": Field(read=fields.texts, required=False),
    "filter": OPTIONAL,
    "datasets": Field(read=fields.objects, required=False),
    "max_results": Field(read=fields.number, required=False),
    "order_by": Field(read=fields.objects, required=False),
    "page_token": OPTIONAL,
}


DELETIONS: Final = "/"  # the lock of objects that are no models; no model has this name


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """An entry: `path` is a pattern of routes, `name` is also the label `rule` of metrics and audit lines.

    A variable of the path is a field too.

    `durable` writes the audit line to the disk before the request is forwarded. `moves_stage` marks the operation whose
    answer is the version: the gate reads the version's stage after an unclear answer, and the version for a noop.
    """

    name: str
    method: str
    path: str
    fields: Mapping[str, Field]
    rule: Rule
    invalidates: Invalidates = Invalidates.ALL
    durable: bool = False
    moves_stage: bool = False

    @property
    def max_lookups(self) -> int:
        """The most lookups that find the owner: four for a version (itself, model, run, experiment), else one."""
        return 4 if "version" in self.fields else 1

    def locks(self, body: Json) -> tuple[str, ...]:
        """Return the names of what is locked for a request, in this order; a read locks nothing.

        A move to Staging excludes deletions of runs, experiments and logged models: each of the two rules looks at what
        the other one would change.
        """
        if self.invalidates is Invalidates.NOTHING:
            return ()
        if "name" not in body:
            return (DELETIONS,)
        return (body["name"], DELETIONS) if self.moves_stage and body["stage"] == promotion.STAGING else (body["name"],)

    def invalidated_by(self, body: Json) -> Invalidates:
        """Return what a request with this body invalidates."""
        if self.invalidates is Invalidates.ALL_IF_OWNERSHIP_TAG:
            return Invalidates.ALL if OWNERSHIP_TAGS.found(body.get("key", "")) else Invalidates.NOTHING
        return self.invalidates


OPERATIONS: Final = (
    Operation(
        name="transition_stage",
        method="POST",
        path=f"{V2}/model-versions/transition-stage",
        fields=VERSION | MOVE,
        rule=promotion.transition_stage,
        invalidates=Invalidates.PROMOTED,
        durable=True,
        moves_stage=True,
    ),
    Operation(
        name="set_alias",
        method="POST",
        path=f"{V2}/registered-models/alias",
        fields=VERSION | ALIAS,
        rule=promotion.set_alias,
        invalidates=Invalidates.PROMOTED,
        durable=True,
    ),
    Operation(
        name="delete_alias",
        method="DELETE",
        path=f"{V2}/registered-models/alias",
        fields=MODEL | ALIAS,
        rule=promotion.delete_alias,
        invalidates=Invalidates.PROMOTED,
        durable=True,
    ),
    Operation(
        name="set_version_tag",
        method="POST",
        path=f"{V2}/model-versions/set-tag",
        fields=VERSION | TAG,
        rule=tags.set_version_tag,
        invalidates=Invalidates.ALL_IF_OWNERSHIP_TAG,
    ),
    Operation(
        name="delete_version_tag",
        method="DELETE",
        path=f"{V2}/model-versions/delete-tag",
        fields=VERSION | TAG_KEY,
        rule=tags.delete_version_tag,
        invalidates=Invalidates.ALL_IF_OWNERSHIP_TAG,
    ),
    Operation(
        name="set_model_tag",
        method="POST",
        path=f"{V2}/registered-models/set-tag",
        fields=MODEL | TAG,
        rule=tags.set_model_tag,
    ),
    Operation(
        name="delete_model_tag",
        method="DELETE",
        path=f"{V2}/registered-models/delete-tag",
        fields=MODEL | TAG_KEY,
        rule=tags.delete_model_tag,
    ),
    Operation(
        name="create_model",
        method="POST",
        path=f"{V2}/registered-models/create",
        fields=MODEL | {"tags": TAGS} | DESCRIPTION,
        rule=creation.create_model,
    ),
    Operation(
        name="update_model",
        method="PATCH",
        path=f"{V2}/registered-models/update",
        fields=MODEL | DESCRIPTION,
        rule=existing_objects.update_object,
    ),
    Operation(
        name="rename_model",
        method="POST",
        path=f"{V2}/registered-models/rename",
        fields=MODEL | {"new_name": NAME},
        rule=existing_objects.rename_model,
    ),
    Operation(
        name="delete_model",
        method="DELETE",
        path=f"{V2}/registered-models/delete",
        fields=MODEL,
        rule=existing_objects.delete_model,
    ),
    Operation(
        name="latest_versions",
        method="POST",
        path=f"{V2}/registered-models/get-latest-versions",
        fields=MODEL | {"stages": Field(read=fields.texts, required=False)},
        rule=existing_objects.latest_versions,
        invalidates=Invalidates.NOTHING,
    ),
    Operation(
        name="create_version",
        method="POST",
        path=f"{V2}/model-versions/create",
        fields=MODEL | NEW_VERSION,
        rule=creation.create_version,
    ),
    Operation(
        name="update_version",
        method="PATCH",
        path=f"{V2}/model-versions/update",
        fields=VERSION | {"description": OPTIONAL},
        rule=existing_objects.update_object,
    ),
    Operation(
        name="delete_version",
        method="DELETE",
        path=f"{V2}/model-versions/delete",
        fields=VERSION,
        rule=existing_objects.delete_version,
    ),
    Operation(
        name="create_experiment",
        method="POST",
        path=f"{V2}/experiments/create",
        fields={"name": TEXT, "artifact_location": OPTIONAL, "tags": TAGS},
        rule=creation.create_experiment,
    ),
    Operation(
        name="set_experiment_tag",
        method="POST",
        path=f"{V2}/experiments/set-experiment-tag",
        fields=EXPERIMENT | TAG,
        rule=tags.set_experiment_tag,
    ),
    Operation(
        name="delete_experiment_tag",
        method="POST",
        path=f"{V2}/experiments/delete-experiment-tag",
        fields=EXPERIMENT | TAG_KEY,
        rule=tags.delete_experiment_tag,
    ),
    Operation(
        name="delete_experiment",
        method="POST",
        path=f"{V2}/experiments/delete",
        fields=EXPERIMENT,
        rule=existing_objects.delete_experiment,
    ),
    Operation(
        name="delete_run",
        method="POST",
        path=f"{V2}/runs/delete",
        fields={"run_id": TEXT},
        rule=existing_objects.delete_run,
    ),
    Operation(
        name="delete_logged_model",
        method="DELETE",
        path=f"{V2}/logged-models/<model_id>",
        fields=LOGGED_MODEL,
        rule=existing_objects.delete_logged_model,
    ),
    Operation(
        name="search_logged_models",
        method="POST",
        path=f"{V2}/logged-models/search",
        fields=LOGGED_MODELS,
        rule=existing_objects.search_logged_models,
        invalidates=Invalidates.NOTHING,
    ),
)
