"""The changes of one step in MLflow, and their reversal."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from model_contract.names import PROMOTION_ID, PROMOTION_TAG_PREFIX
from model_lifecycle.digests import record
from model_lifecycle.errors import LifecycleError, PreconditionError, UnavailableError
from model_lifecycle.promotion.steps import PREVIOUS, ROLLED_BACK_FROM, Step
from model_lifecycle.registry import NO_VERSION, Model, Registry
from model_lifecycle.registry_changes import (
    RegistryChange,
    alias_change,
    alias_removal,
    confirmed_write,
    current,
    stage_change,
    tag_change,
    tag_removal,
)
from model_lifecycle.stages import PRODUCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionRecord:
    """The author, time and reason of a promotion: tags of the version. `at` is an ISO 8601 time in UTC."""

    id: str
    by: str
    at: str
    commit: str | None = None
    reason: str | None = None
    rolls_back: bool = False

    def tags(self, step: Step) -> Mapping[str, str]:
        """Return the tags of a promoted version. A rollback keeps the tag of the version before, to go further back."""
        came_from = ROLLED_BACK_FROM if self.rolls_back else PREVIOUS
        texts = {"id": self.id, "by": self.by, "at": self.at, "commit": self.commit, "reason": self.reason}
        return {f"{PROMOTION_TAG_PREFIX}{name}": text for name, text in texts.items() if text} | (
            {came_from: step.previous} if step.previous else {}
        )


Undo = list[Callable[[], None]]


def apply(registry: Registry, step: Step, promotion: PromotionRecord, undo: Undo) -> None:
    """Make the changes of a step, and add to `undo` one function for each change that was made, or may have been.

    Call the functions of `undo` from the last to the first. A step that broke off can be planned and applied again.
    Raises LifecycleError.
    """
    record(registry, step.version, step.digest)
    for other in step.others:
        if step.archives and PROMOTION_ID not in other.tags:
            # It was in Production: by this tag the gate allows it to move back.
            confirmed_write(tag_change(registry, other, PROMOTION_ID, f"before {promotion.id}"))
    if step.moves or (step.alias_only and step.renames):
        for key, value in promotion.tags(step).items():
            if step.version.tags.get(key) != value:
                change = tag_change(registry, step.version, key, value)
                _make(undo, change, partial(_restore_tag, registry, step, key))
    if step.moves:
        _make(undo, _promotion(registry, step), partial(_restore_stages, registry, step))
    if step.renames:
        change = alias_change(registry, step.entry.name, step.entry.alias, step.entry.version)
        _make(undo, change, partial(_restore_alias, registry, step))


def _make(undo: Undo, change: RegistryChange, back: Callable[[], None]) -> None:
    undo.append(back)
    try:
        confirmed_write(change)
    except UnavailableError:
        raise  # the change may have been made, so its undo function stays
    except LifecycleError:
        undo.pop()
        raise


def _promotion(registry: Registry, step: Step) -> RegistryChange:
    serving = (step.version.version, *step.archives) if step.version.stage == PRODUCTION else step.archives
    expected = max(serving, key=int, default=NO_VERSION) if step.entry.stage == PRODUCTION else None
    return stage_change(registry, step.version, step.entry.stage, archive=bool(step.archives), expected=expected)


def _restore_stages(registry: Registry, step: Step) -> None:
    """Move back the version that served, and archive the other in the same request: Production is never empty."""
    if current(registry, step.version).stage != step.entry.stage:
        return  # it was not moved, or another caller has moved it on
    for position, number in enumerate(step.archives):
        other = next(other for other in step.others if other.version == number)
        confirmed_write(stage_change(registry, other, step.entry.stage, archive=position == 0))
    if current(registry, step.version).stage != step.version.stage:
        confirmed_write(stage_change(registry, step.version, step.version.stage))


def _restore_alias(registry: Registry, step: Step) -> None:
    name, alias = step.entry.name, step.entry.alias
    if registry.model(name).aliases.get(alias) != step.entry.version:
        return
    before = step.aliased
    confirmed_write(alias_change(registry, name, alias, before) if before else alias_removal(registry, name, alias))


def _restore_tag(registry: Registry, step: Step, key: str) -> None:
    before = step.version.tags.get(key)
    if before is not None:
        confirmed_write(tag_change(registry, step.version, key, before))
    elif key in current(registry, step.version).tags:
        confirmed_write(tag_removal(registry, step.version, key))


def check(registry: Registry, step: Step, known: Model | None = None) -> None:
    """Raise PreconditionError if MLflow does not have the step's changes. `known` is the model as it was just read."""
    number, alias = step.entry.version, step.entry.alias
    version = known.version(number) if known else None
    aliased = known.aliases.get(alias) == number if known else False
    if version is None:
        version = current(registry, step.version)
        aliased = alias in version.aliases
    if step.moves and version.stage != step.entry.stage:
        raise PreconditionError(
            f"MLflow has it in stage {version.stage} after it was moved to {step.entry.stage}: another client moves"
            " this model"
        )
    if step.renames and not aliased:
        raise PreconditionError(
            f"the alias {alias} names another version after it was set: another client moves this model"
        )
