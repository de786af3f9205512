"""Back to the version that served before."""

from model_contract.names import PROMOTION_TAG_PREFIX
from model_lifecycle.errors import NotFoundError, PreconditionError
from model_lifecycle.promotion.changes import PREVIOUS, ROLLED_BACK_FROM
from model_lifecycle.promotion.steps import Terms
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Model
from model_lifecycle.stages import PRODUCTION, PRODUCTION_ALIAS


def target_of(model: Model, project_id: str, to: str | None, terms: Terms) -> Entry:
    """The entry that a promotion file would have for it. Raises NotFoundError, PreconditionError."""
    serving = model.aliases.get(PRODUCTION_ALIAS) if terms.alias_only else next(iter(model.in_stage(PRODUCTION)), None)
    if serving is None:
        raise PreconditionError(f"{model.name!r} has no version in Production: there is nothing to roll back")
    number = to or _before(model, serving)
    if number == serving:
        raise PreconditionError(f"version {number} of {model.name!r} is in Production")
    if model.version(number) is None:
        raise NotFoundError(f"{model.name!r} has no version {number}: say with --to which one is meant")
    return Entry(project_id=project_id, name=model.name, version=number, stage=PRODUCTION, alias=PRODUCTION_ALIAS)


def _before(model: Model, serving: str) -> str:
    version = model.version(serving)
    tags = version.tags if version else {}
    if number := tags.get(PREVIOUS):
        return number
    beyond = f", and was rolled back to from version {tags[ROLLED_BACK_FROM]}" if ROLLED_BACK_FROM in tags else ""
    raise NotFoundError(
        f"version {serving} of {model.name!r} does not say what was in Production before it (tag"
        f" {PROMOTION_TAG_PREFIX}prev){beyond}; say with --to which version is meant"
    )
