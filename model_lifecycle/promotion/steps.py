"""The changes that an entry of a promotion file needs, and the blockers against them.

Pure: nothing is read or changed.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from model_contract.exit_codes import ExitCode
from model_contract.model_ref import printable
from model_contract.names import PROMOTION_ID, PROMOTION_TAG_PREFIX
from model_lifecycle.digests import Digest
from model_lifecycle.errors import NotFoundError, PreconditionError
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Model, Version
from model_lifecycle.stages import ARCHIVED, PRODUCTION, PRODUCTION_ALIAS, READY, STAGING, STAGING_ALIAS

PREVIOUS: Final = f"{PROMOTION_TAG_PREFIX}prev"
ROLLED_BACK_FROM: Final = f"{PROMOTION_TAG_PREFIX}rolled_back_from"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromotionOptions:
    """Options of a promotion.

    `any_source` also takes versions that were never in Staging, if no gate forbids it; `alias_only` is for registries
    without stages.
    """

    any_source: bool = False
    alias_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocker:
    """A reason against the promotion of an entry."""

    entry: Entry
    text: str
    exit_code: ExitCode

    def __str__(self) -> str:
        return f"{printable(self.entry.name)} version {self.entry.version}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An entry and the state before it.

    `others` are the other versions in the entry's stage, the newest first; `aliased` is the version behind its alias.
    """

    entry: Entry
    version: Version
    others: tuple[Version, ...]
    aliased: str | None
    digest: Digest
    alias_only: bool = False

    @property
    def archives(self) -> tuple[str, ...]:
        """Versions that the step archives: Production holds one version, Staging any number."""
        return (
            tuple(other.version for other in self.others)
            if self.entry.stage == PRODUCTION and not self.alias_only
            else ()
        )

    @property
    def moves(self) -> bool:
        return not self.alias_only and (self.version.stage != self.entry.stage or bool(self.archives))

    @property
    def renames(self) -> bool:
        """True if the alias has to be set."""
        return self.aliased != self.entry.version

    @property
    def changes(self) -> bool:
        return self.moves or self.renames

    @property
    def previous(self) -> str | None:
        """The version that served until now, to which a rollback goes back."""
        if self.alias_only:
            return self.aliased if self.aliased != self.entry.version else None
        return self.others[0].version if self.others else None


def step_of(entry: Entry, model: Model, version: Version, digest: Digest, options: PromotionOptions) -> Step:
    others = tuple(other for other in model.versions if other.stage == entry.stage and other.version != version.version)
    aliased = model.aliases.get(entry.alias)
    return Step(
        entry=entry, version=version, others=others, aliased=aliased, digest=digest, alias_only=options.alias_only
    )


def blockers(entry: Entry, model: Model, version: Version, options: PromotionOptions) -> Iterator[Blocker]:
    """Yield each reason that the registry alone gives."""
    project = model.project_of(version)
    if project is None:
        yield Blocker(
            entry=entry,
            text="it has no project: an admin gives it one with `model-api backfill`",
            exit_code=ExitCode.PRECONDITION,
        )
    elif project != entry.project_id:
        yield Blocker(
            entry=entry, text=f"it is not a model of project {entry.project_id}", exit_code=ExitCode.NOT_AUTHORISED
        )
    if version.status != READY:
        yield Blocker(
            entry=entry, text=f"it is {version.status}, not {READY}: register it again", exit_code=ExitCode.PRECONDITION
        )
    if entry.stage == STAGING and version.stage == PRODUCTION:
        text = "it is in Production: to replace it, promote another version"
        yield Blocker(entry=entry, text=text, exit_code=ExitCode.PRECONDITION)
    if not options.alias_only and not _may_move(entry, version, options):
        text = f"it is in stage {version.stage}: `model-api stage` brings it to Staging first"
        yield Blocker(entry=entry, text=text, exit_code=ExitCode.PRECONDITION)


def digest_blocker(entry: Entry, digest: Digest) -> Blocker | None:
    """Return a blocker if the file names another digest."""
    if entry.digest is None or entry.digest == digest.digest:
        return None
    text = f"its files have the digest {digest.digest}, and the file says {entry.digest}"
    return Blocker(entry=entry, text=text, exit_code=ExitCode.PRECONDITION)


def _may_move(entry: Entry, version: Version, options: PromotionOptions) -> bool:
    if options.any_source or entry.stage != PRODUCTION or version.stage in {STAGING, PRODUCTION}:
        return True
    return version.stage == ARCHIVED and PROMOTION_ID in version.tags


def rollback_entry(model: Model, project_id: str, to: str | None, options: PromotionOptions) -> Entry:
    """Return the entry that a promotion file would have for a rollback. Raises NotFoundError, PreconditionError."""
    serving = (
        model.aliases.get(PRODUCTION_ALIAS) if options.alias_only else next(iter(model.in_stage(PRODUCTION)), None)
    )
    if serving is None:
        raise PreconditionError(f"{model.name!r} has no version in Production: there is nothing to roll back")
    number = to or _version_before(model, serving)
    if number == serving:
        raise PreconditionError(f"version {number} of {model.name!r} is in Production")
    if model.version(number) is None:
        raise NotFoundError(f"{model.name!r} has no version {number}: name a version with --to")
    return Entry(
        project_id=project_id, name=model.name, version=number, stage=PRODUCTION, alias=_serving_alias(model, serving)
    )


def _serving_alias(model: Model, serving: str) -> str:
    """Return `production`, or, if the model has no such alias, the one by which clients find the version that serves.

    Raises PreconditionError if there are several.
    """
    found = sorted(alias for alias, number in model.aliases.items() if number == serving and alias != STAGING_ALIAS)
    if PRODUCTION_ALIAS in model.aliases or not found:
        return PRODUCTION_ALIAS
    if len(found) > 1:
        raise PreconditionError(
            f"version {serving} of {model.name!r} is behind the aliases {', '.join(found)}: change the promotion file"
            " back, which names the one of Production, and promote it"
        )
    return found[0]


def _version_before(model: Model, serving: str) -> str:
    version = model.version(serving)
    tags = version.tags if version else {}
    if number := tags.get(PREVIOUS):
        return number
    beyond = f", and was rolled back to from version {tags[ROLLED_BACK_FROM]}" if ROLLED_BACK_FROM in tags else ""
    raise NotFoundError(
        f"version {serving} of {model.name!r} does not say what was in Production before it (tag"
        f" {PROMOTION_TAG_PREFIX}prev){beyond}; name the version with --to"
    )
