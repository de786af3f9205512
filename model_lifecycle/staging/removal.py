"""A staged version is taken back: nothing points at it any more, then its model API goes."""

import contextlib

from model_contract.names import TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from model_lifecycle.domino.model_apis import ModelApis
from model_lifecycle.errors import NotFoundError, PreconditionError
from model_lifecycle.registry import Model, Registry
from model_lifecycle.settling import Change, settle
from model_lifecycle.stages import ARCHIVED, PRODUCTION, PRODUCTION_ALIAS, STAGING, STAGING_ALIAS
from model_lifecycle.staging.preflight import title_of
from model_lifecycle.staging.standing import Standing


def remove(registry: Registry, apis: ModelApis, model: Model, standing: Standing) -> None:
    """It can be repeated. Raises PreconditionError where the model API serves something else too, LifecycleError."""
    version, model_id = standing.version, standing.model_id
    if model_id is None:
        raise NotFoundError(f"{title_of(version)} has no model API")
    check_unused(model, standing)
    if model.aliases.get(STAGING_ALIAS) == version.version:
        settle(
            Change(
                make=lambda: registry.delete_alias(model.name, STAGING_ALIAS),
                holds=lambda: STAGING_ALIAS not in registry.model(model.name).aliases,
            )
        )
    if version.stage == STAGING:
        settle(
            Change(
                make=lambda: registry.transition(version, ARCHIVED),
                holds=lambda: registry.version(version.name, version.version).stage == ARCHIVED,
            )
        )
    with contextlib.suppress(NotFoundError):  # it has gone before
        apis.archive(model_id)
    for key in (TAG_MODEL_VERSION_ID, TAG_MODEL_ID):
        if key in version.tags:
            registry.delete_tag(version, key)


def check_unused(model: Model, standing: Standing) -> None:
    """`domino-mlflow-client` made one model API for all versions of a model."""
    version = standing.version
    if version.stage == PRODUCTION or model.aliases.get(PRODUCTION_ALIAS) == version.version:
        raise PreconditionError(f"{title_of(version)} is in Production: its model API stays")
    for other in model.versions:
        if other.version != version.version and other.tags.get(TAG_MODEL_ID) == standing.model_id:
            raise PreconditionError(
                f"the model API of {title_of(version)} is that of version {other.version}, too: it stays"
            )
