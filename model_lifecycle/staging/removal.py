"""Removal of a staged version: first its alias and stage, then its model API and tags."""

import contextlib

from model_contract.names import TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from model_lifecycle.domino.model_apis import ModelApis
from model_lifecycle.errors import NotFoundError, PreconditionError
from model_lifecycle.registry import Model, Registry
from model_lifecycle.registry_changes import alias_removal, confirmed_write, stage_change
from model_lifecycle.stages import ARCHIVED, PRODUCTION, PRODUCTION_ALIAS, STAGING, STAGING_ALIAS
from model_lifecycle.staging.marks import ModelApiIds
from model_lifecycle.staging.preflight import title_of


def remove(registry: Registry, apis: ModelApis, model: Model, ids: ModelApiIds) -> None:
    """Remove the model API; it can be repeated.

    Raises PreconditionError if another version has it too, LifecycleError.
    """
    version, model_id = ids.version, ids.model_id
    if model_id is None:
        raise NotFoundError(f"{title_of(version)} has no model API")
    check_unused(model, ids)
    if model.aliases.get(STAGING_ALIAS) == version.version:
        confirmed_write(alias_removal(registry, model.name, STAGING_ALIAS))
    if version.stage == STAGING:
        confirmed_write(stage_change(registry, version, ARCHIVED))
    with contextlib.suppress(NotFoundError):  # it has gone before
        apis.archive(model_id)
    for key in (TAG_MODEL_VERSION_ID, TAG_MODEL_ID):
        if key in version.tags:
            registry.delete_tag(version, key)


def check_unused(model: Model, ids: ModelApiIds) -> None:
    """Raise PreconditionError if the model API is used. `domino-mlflow-client` made one for all versions of a model."""
    version = ids.version
    if version.stage == PRODUCTION or model.aliases.get(PRODUCTION_ALIAS) == version.version:
        raise PreconditionError(f"{title_of(version)} is in Production: its model API stays")
    for other in model.versions:
        if other.version != version.version and other.tags.get(TAG_MODEL_ID) == ids.model_id:
            raise PreconditionError(
                f"the model API of {title_of(version)} is that of version {other.version}, too: it stays"
            )
