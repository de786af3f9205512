"""The versions of a model in Staging and Production, and their differences from the expected state."""

from dataclasses import dataclass

from model_contract.names import TAG_DIGEST
from model_lifecycle.digests import digest_of
from model_lifecycle.errors import LifecycleError, NotFoundError
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Model, Registry
from model_lifecycle.stages import PRODUCTION, PRODUCTION_ALIAS, STAGING


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """The status of one model. `drift` has a sentence for each difference from the expected state."""

    project_id: str
    name: str
    production: tuple[str, ...] = ()
    staging: tuple[str, ...] = ()
    aliases: tuple[tuple[str, str], ...] = ()
    digest: str | None = None
    drift: tuple[str, ...] = ()


def model_status(
    registry: Registry, project_id: str, name: str, entry: Entry | None, *, alias_only: bool = False
) -> ModelStatus:
    """Return the status. `entry` is the model's entry in a promotion file. Raises LifecycleError if MLflow fails."""
    try:
        model = registry.model(name)
    except NotFoundError:
        return ModelStatus(project_id=project_id, name=name, drift=("there is no such model",))
    serving = model.aliases.get(PRODUCTION_ALIAS) if alias_only else next(iter(model.in_stage(PRODUCTION)), None)
    found = model.version(serving) if serving else None
    return ModelStatus(
        project_id=project_id,
        name=name,
        production=model.in_stage(PRODUCTION),
        staging=model.in_stage(STAGING),
        aliases=tuple(sorted(model.aliases.items())),
        digest=found.tags.get(TAG_DIGEST) if found else None,
        drift=(
            *_drift(model, entry, alias_only=alias_only),
            *(_digest_drift(registry, model, serving) if serving else ()),
        ),
    )


def _drift(model: Model, entry: Entry | None, *, alias_only: bool) -> list[str]:
    found = []
    production = model.in_stage(PRODUCTION)
    if len(production) > 1 and not alias_only:
        found.append(f"versions {', '.join(production)} are in Production at once: clients get {production[0]}")
    alias = model.aliases.get(PRODUCTION_ALIAS)
    by_another = alias is None and entry is not None and entry.stage == PRODUCTION and entry.alias != PRODUCTION_ALIAS
    if not alias_only and not by_another and alias != (production[0] if production else None):
        found.append(
            f"the alias production points to version {alias or 'none'}, and Production is"
            f" {production[0] if production else 'none'}"
        )
    if entry is None:
        return found
    if not alias_only and entry.version not in model.in_stage(entry.stage):
        found.append(
            f"the file has version {entry.version} in {entry.stage}, MLflow has"
            f" {', '.join(model.in_stage(entry.stage)) or 'none'}"
        )
    if (alias := model.aliases.get(entry.alias)) != entry.version:
        found.append(
            f"the file has version {entry.version} behind the alias {entry.alias}, MLflow has {alias or 'none'}"
        )
    return found


def _digest_drift(registry: Registry, model: Model, serving: str) -> list[str]:
    version = model.version(serving)
    if version is None:
        return [f"the alias production points to version {serving}, which does not exist"]
    if TAG_DIGEST not in version.tags:
        return [f"version {serving} has no digest: a change of its files cannot be seen"]
    try:
        digest_of(registry, version)
    except LifecycleError as error:
        return [str(error)]
    return []
