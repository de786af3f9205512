"""The marks of a staged version in MLflow: the tags that name its model API, its digest, its stage and its alias."""

from collections.abc import Iterator
from dataclasses import dataclass

from model_contract.names import TAG_DIGEST, TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from model_lifecycle.digests import digest_of, record
from model_lifecycle.domino.model_apis import ModelApiVersion
from model_lifecycle.errors import NotFoundError, PreconditionError
from model_lifecycle.registry import Model, Registry, Version
from model_lifecycle.registry_changes import (
    RegistryChange,
    alias_change,
    confirmed_write,
    current,
    stage_change,
    tag_change,
)
from model_lifecycle.stages import STAGING, STAGING_ALIAS


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelApiIds:
    """The model API of a version, by the version's tags. The ids are None if the version was never staged."""

    version: Version
    model_id: str | None
    model_version_id: str | None


def model_api_ids(version: Version) -> ModelApiIds:
    return ModelApiIds(
        version=version,
        model_id=version.tags.get(TAG_MODEL_ID) or None,
        model_version_id=version.tags.get(TAG_MODEL_VERSION_ID) or None,
    )


def deployed_version(model: Model, *, number: str | None = None, alias: str | None) -> ModelApiIds:
    """Return the model API of the version with this number or alias. Raises NotFoundError."""
    if alias is not None and (number := model.aliases.get(alias)) is None:
        raise NotFoundError(f"{model.name!r} has no alias {alias}")
    version = model.version(number or "")
    if version is None:
        raise NotFoundError(f"{model.name!r} has no version {number}")
    return model_api_ids(version)


def record_digest(registry: Registry, version: Version) -> str:
    """Write the digest of the version's files, and return it. Raises LifecycleError.

    It is the first write of a staging, and is sent each time: the gate refuses it if the caller may not stage.
    """
    found = digest_of(registry, version)
    confirmed_write(tag_change(registry, version, TAG_DIGEST, found.digest))
    record(registry, current(registry, version), found)
    return found.digest


def write_marks(registry: Registry, version: Version, published: ModelApiVersion, *, alias_only: bool) -> list[str]:
    """Write the marks that are missing, and return their names. Raises LifecycleError."""
    changes = list(_missing(registry, version, published, alias_only=alias_only))
    for _, change in changes:
        confirmed_write(change)
    if left := [title for title, _ in _missing(registry, version, published, alias_only=alias_only)]:
        raise PreconditionError(
            f"MLflow still lacks what was written: {', '.join(left)}; another client moves this model"
        )
    return [title for title, _ in changes]


def _missing(
    registry: Registry, version: Version, published: ModelApiVersion, *, alias_only: bool
) -> Iterator[tuple[str, RegistryChange]]:
    now = current(registry, version)
    for key, value in ((TAG_MODEL_ID, published.model_id), (TAG_MODEL_VERSION_ID, published.version_id)):
        if now.tags.get(key) != value:
            yield key, tag_change(registry, version, key, value)
    if not alias_only and now.stage != STAGING:
        # Nothing is archived: Staging holds each version that is under test.
        yield f"stage {STAGING}", stage_change(registry, version, STAGING)
    if registry.model(version.name).aliases.get(STAGING_ALIAS) != version.version:
        yield f"alias {STAGING_ALIAS}", alias_change(registry, version.name, STAGING_ALIAS, version.version)
