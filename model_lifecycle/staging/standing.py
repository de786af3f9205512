"""Which model API a version has, by its tags."""

from dataclasses import dataclass

from model_contract.names import TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from model_lifecycle.errors import NotFoundError
from model_lifecycle.registry import Model, Version


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """None where it was never staged."""

    version: Version
    model_id: str | None
    model_version_id: str | None


def deployed_version(model: Model, *, number: str | None = None, alias: str | None = None) -> Standing:
    """Raises NotFoundError."""
    if alias is not None and (number := model.aliases.get(alias)) is None:
        raise NotFoundError(f"{model.name!r} has no alias {alias}")
    version = model.version(number or "")
    if version is None:
        raise NotFoundError(f"{model.name!r} has no version {number}")
    return standing_of(version)


def standing_of(version: Version) -> Standing:
    return Standing(
        version=version,
        model_id=version.tags.get(TAG_MODEL_ID) or None,
        model_version_id=version.tags.get(TAG_MODEL_VERSION_ID) or None,
    )
