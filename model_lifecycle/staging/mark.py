"""What the registry says afterwards: which model API a version is, its stage and its alias. Written where it is not so
already.
"""

from collections.abc import Iterator

from model_contract.names import TAG_DIGEST, TAG_MODEL_ID, TAG_MODEL_VERSION_ID
from model_lifecycle.digests import digest_of, record
from model_lifecycle.domino.model_apis import Published
from model_lifecycle.errors import PreconditionError
from model_lifecycle.registry import Registry, Version
from model_lifecycle.settling import Change, settle
from model_lifecycle.stages import STAGING, STAGING_ALIAS


def record_digest(registry: Registry, version: Version) -> str:
    """The first thing that is written, and written again: it is how the gate says whether the caller may. Raises
    LifecycleError.
    """
    found = digest_of(registry, version)
    settle(_tagging(registry, version, TAG_DIGEST, found.digest))
    record(registry, registry.version(version.name, version.version), found)
    return found.digest


def mark(registry: Registry, version: Version, published: Published, *, alias_only: bool) -> list[str]:
    """What was changed. Raises LifecycleError."""
    changes = list(_missing(registry, version, published, alias_only=alias_only))
    for _, change in changes:
        settle(change)
    if left := [title for title, _ in _missing(registry, version, published, alias_only=alias_only)]:
        raise PreconditionError(
            f"MLflow still lacks what was written: {', '.join(left)}; somebody else moves this model"
        )
    return [title for title, _ in changes]


def _missing(
    registry: Registry, version: Version, published: Published, *, alias_only: bool
) -> Iterator[tuple[str, Change]]:
    now = registry.version(version.name, version.version)
    for key, value in ((TAG_MODEL_ID, published.model_id), (TAG_MODEL_VERSION_ID, published.version_id)):
        if now.tags.get(key) != value:
            yield key, _tagging(registry, version, key, value)
    if not alias_only and now.stage != STAGING:
        yield f"stage {STAGING}", _moving(registry, version)
    if _aliased(registry, version) != version.version:
        yield f"alias {STAGING_ALIAS}", _naming(registry, version)


def _tagging(registry: Registry, version: Version, key: str, value: str) -> Change:
    return Change(
        make=lambda: registry.set_tag(version, key, value),
        holds=lambda: registry.version(version.name, version.version).tags.get(key) == value,
    )


def _moving(registry: Registry, version: Version) -> Change:
    """Staging holds as many versions as are tried: nothing is archived."""
    return Change(
        make=lambda: registry.transition(version, STAGING),
        holds=lambda: registry.version(version.name, version.version).stage == STAGING,
    )


def _naming(registry: Registry, version: Version) -> Change:
    return Change(
        make=lambda: registry.set_alias(version.name, STAGING_ALIAS, version.version),
        holds=lambda: _aliased(registry, version) == version.version,
    )


def _aliased(registry: Registry, version: Version) -> str | None:
    return registry.model(version.name).aliases.get(STAGING_ALIAS)
