"""What one entry of a promotion file needs, from what MLflow has now. Pure: it reads nothing and changes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass

from model_contract.exit_codes import ExitCode
from model_contract.names import PROMOTION_ID
from model_lifecycle.digests import Digest
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Model, Version
from model_lifecycle.stages import ARCHIVED, PRODUCTION, READY, STAGING


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How entries are read. `any_source` also takes versions that were never in Staging, where no gate forbids it;
    `alias_only` is for registries without stages.
    """

    any_source: bool = False
    alias_only: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """Why an entry cannot be promoted."""

    entry: Entry
    text: str
    exit_code: ExitCode

    def __str__(self) -> str:
        return f"{self.entry.name} version {self.entry.version}: {self.text}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """An entry, and what is there before it: its version, the others that its stage holds, the newest first, and what
    its alias means.
    """

    entry: Entry
    version: Version
    others: tuple[Version, ...]
    aliased: str | None
    digest: Digest
    alias_only: bool = False

    @property
    def archives(self) -> tuple[str, ...]:
        """One version at a time is in Production; Staging holds as many as are tried."""
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
        """Whether the alias has to be set."""
        return self.aliased != self.entry.version

    @property
    def changes(self) -> bool:
        return self.moves or self.renames

    @property
    def previous(self) -> str | None:
        """The version that served until now: what a rollback goes back to."""
        if self.alias_only:
            return self.aliased if self.aliased != self.entry.version else None
        return self.others[0].version if self.others else None


def step_of(entry: Entry, model: Model, version: Version, digest: Digest, terms: Terms) -> Step:
    others = tuple(other for other in model.versions if other.stage == entry.stage and other.version != version.version)
    aliased = model.aliases.get(entry.alias)
    return Step(
        entry=entry, version=version, others=others, aliased=aliased, digest=digest, alias_only=terms.alias_only
    )


def obstacles(entry: Entry, model: Model, version: Version, terms: Terms) -> Iterator[Obstacle]:
    """Every reason that the registry alone gives."""
    project = model.project_of(version)
    if project is None:
        yield Obstacle(
            entry=entry,
            text="it has no project: an admin gives it one with `model-api backfill`",
            exit_code=ExitCode.PRECONDITION,
        )
    elif project != entry.project_id:
        yield Obstacle(
            entry=entry, text=f"it is not a model of project {entry.project_id}", exit_code=ExitCode.NOT_AUTHORISED
        )
    if version.status != READY:
        yield Obstacle(
            entry=entry, text=f"it is {version.status}, not {READY}: register it again", exit_code=ExitCode.PRECONDITION
        )
    if entry.stage == STAGING and version.stage == PRODUCTION:
        text = "it is in Production: promote another version, and it leaves by that"
        yield Obstacle(entry=entry, text=text, exit_code=ExitCode.PRECONDITION)
    if not terms.alias_only and not _may_move(entry, version, terms):
        text = f"it is in stage {version.stage}: `model-api stage` brings it to Staging first"
        yield Obstacle(entry=entry, text=text, exit_code=ExitCode.PRECONDITION)


def digest_obstacle(entry: Entry, digest: Digest) -> Obstacle | None:
    """Where the file says which files are meant."""
    if entry.digest is None or entry.digest == digest.digest:
        return None
    text = f"its files have the digest {digest.digest}, and the file says {entry.digest}"
    return Obstacle(entry=entry, text=text, exit_code=ExitCode.PRECONDITION)


def _may_move(entry: Entry, version: Version, terms: Terms) -> bool:
    if terms.any_source or entry.stage != PRODUCTION or version.stage in {STAGING, PRODUCTION}:
        return True
    return version.stage == ARCHIVED and PROMOTION_ID in version.tags
