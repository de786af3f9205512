"""The changes of one step in MLflow, and the same ones taken back. Each is read where its answer does not say whether
it was made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from model_contract.names import PROMOTION_ID, PROMOTION_TAG_PREFIX
from model_lifecycle.digests import record
from model_lifecycle.errors import LifecycleError, PreconditionError, UnavailableError
from model_lifecycle.promotion.steps import Step
from model_lifecycle.registry import NO_VERSION, Model, Registry, Version
from model_lifecycle.settling import Change, settle
from model_lifecycle.stages import PRODUCTION

PREVIOUS: Final = f"{PROMOTION_TAG_PREFIX}prev"
ROLLED_BACK_FROM: Final = f"{PROMOTION_TAG_PREFIX}rolled_back_from"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Who promotes, when and why: tags of the version. `at` is an ISO 8601 time in UTC."""

    id: str
    by: str
    at: str
    commit: str | None = None
    reason: str | None = None
    rolls_back: bool = False

    def tags(self, step: Step) -> Mapping[str, str]:
        """A version that is rolled back to keeps what was before it, so that one can go back further."""
        came_from = ROLLED_BACK_FROM if self.rolls_back else PREVIOUS
        texts = {"id": self.id, "by": self.by, "at": self.at, "commit": self.commit, "reason": self.reason}
        return {f"{PROMOTION_TAG_PREFIX}{name}": text for name, text in texts.items() if text} | (
            {came_from: step.previous} if step.previous else {}
        )


Undo = list[Callable[[], None]]


def apply(registry: Registry, step: Step, stamp: Stamp, undo: Undo) -> None:
    """Raises LifecycleError. `undo` gets what takes each change back that was made, or may have been; call them from
    the end.

    After it, or after any part of it, the same entry planned anew is right again. `check` says whether it holds.
    """
    record(registry, step.version, step.digest)
    for other in step.others:
        if step.archives and PROMOTION_ID not in other.tags:
            _set_tag(registry, other, PROMOTION_ID, f"before {stamp.id}")  # it was in Production: the gate lets it back
    if step.moves or (step.alias_only and step.renames):
        for key, value in stamp.tags(step).items():
            if step.version.tags.get(key) != value:
                _make(undo, _tagging(registry, step.version, key, value), partial(_tag_back, registry, step, key))
    if step.moves:
        _make(undo, _moving(registry, step), partial(_stages_back, registry, step))
    if step.renames:
        _make(undo, _naming(registry, step, step.entry.version), partial(_alias_back, registry, step))


def _make(undo: Undo, change: Change, back: Callable[[], None]) -> None:
    undo.append(back)
    try:
        settle(change)
    except UnavailableError:
        raise  # nobody knows whether it was made
    except LifecycleError:
        undo.pop()
        raise


def _moving(registry: Registry, step: Step) -> Change:
    serving = (step.version.version, *step.archives) if step.version.stage == PRODUCTION else step.archives
    expected = max(serving, key=int, default=NO_VERSION) if step.entry.stage == PRODUCTION else None
    return _move(registry, step.version, step.entry.stage, archive=bool(step.archives), expected=expected)


def _move(
    registry: Registry, version: Version, stage: str, *, archive: bool = False, expected: str | None = None
) -> Change:
    return Change(
        make=lambda: registry.transition(version, stage, archive=archive, expected=expected),
        holds=lambda: _now(registry, version).stage == stage,
    )


def _stages_back(registry: Registry, step: Step) -> None:
    """The version that served comes first, in one move with the archiving of the other: Production is never empty."""
    if _now(registry, step.version).stage != step.entry.stage:
        return  # it was not moved, or somebody has moved it on
    for position, number in enumerate(step.archives):
        other = next(other for other in step.others if other.version == number)
        settle(_move(registry, other, step.entry.stage, archive=position == 0))
    if _now(registry, step.version).stage != step.version.stage:
        settle(_move(registry, step.version, step.version.stage))


def _naming(registry: Registry, step: Step, version: str) -> Change:
    name, alias = step.entry.name, step.entry.alias
    return Change(
        make=lambda: registry.set_alias(name, alias, version),
        holds=lambda: registry.model(name).aliases.get(alias) == version,
    )


def _alias_back(registry: Registry, step: Step) -> None:
    name, alias = step.entry.name, step.entry.alias
    if registry.model(name).aliases.get(alias) != step.entry.version:
        return
    if step.aliased:
        return settle(_naming(registry, step, step.aliased))
    settle(
        Change(make=lambda: registry.delete_alias(name, alias), holds=lambda: alias not in registry.model(name).aliases)
    )


def _tagging(registry: Registry, version: Version, key: str, value: str) -> Change:
    return Change(
        make=lambda: registry.set_tag(version, key, value),
        holds=lambda: _now(registry, version).tags.get(key) == value,
    )


def _set_tag(registry: Registry, version: Version, key: str, value: str) -> None:
    settle(_tagging(registry, version, key, value))


def _tag_back(registry: Registry, step: Step, key: str) -> None:
    before = step.version.tags.get(key)
    if before is not None:
        return _set_tag(registry, step.version, key, before)
    if key in _now(registry, step.version).tags:
        settle(
            Change(
                make=lambda: registry.delete_tag(step.version, key),
                holds=lambda: key not in _now(registry, step.version).tags,
            )
        )


def _now(registry: Registry, version: Version) -> Version:
    return registry.version(version.name, version.version)


def check(registry: Registry, step: Step, known: Model | None = None) -> None:
    """What MLflow says of it afterwards; `known` is the model as it was just read. Raises LifecycleError."""
    number, alias = step.entry.version, step.entry.alias
    version = known.version(number) if known else None
    aliased = known.aliases.get(alias) == number if known else False
    if version is None:
        version = _now(registry, step.version)
        aliased = alias in version.aliases
    if step.moves and version.stage != step.entry.stage:
        raise PreconditionError(
            f"MLflow has it in stage {version.stage} after it was moved to {step.entry.stage}: somebody else moves this"
            " model"
        )
    if step.renames and not aliased:
        raise PreconditionError(f"the alias {alias} does not mean it after it was set: somebody else moves this model")
