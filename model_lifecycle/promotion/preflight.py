"""Read everything that a file names before anything moves, and find each reason against a promotion."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from typing import Final

from model_contract.exit_codes import ExitCode
from model_lifecycle.digests import digest_of
from model_lifecycle.errors import LifecycleError, NotFoundError
from model_lifecycle.promotion.steps import Blocker, PromotionOptions, Step, blockers, digest_blocker, step_of
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Model, Registry

PARALLEL: Final = 8  # entries
project_of_entry = attrgetter("project_id")
# The exit code of a plan is the first of these that one of its blockers has.
CODE_ORDER: Final = (
    ExitCode.UNAVAILABLE,
    ExitCode.NOT_AUTHORISED,
    ExitCode.NOT_FOUND,
    ExitCode.INVALID_INPUT,
    ExitCode.PRECONDITION,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The steps and the blockers of all entries; a plan with a blocker is not applied."""

    steps: tuple[Step, ...]
    blockers: tuple[Blocker, ...] = ()

    @property
    def changes(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if step.changes)

    @property
    def exit_code(self) -> ExitCode:
        codes = {blocker.exit_code for blocker in self.blockers}
        return next((code for code in CODE_ORDER if code in codes), ExitCode.UNEXPECTED if codes else ExitCode.DONE)


def plan(entries: Sequence[Entry], registry_of: Callable[[Entry], Registry], options: PromotionOptions) -> Plan:
    """Return the plan for the entries. Raises LifecycleError only if `registry_of` does, as without a token."""
    registries = [registry_of(entry) for entry in entries]
    models = models_of(entries, registry_of)
    with ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        found = list(
            pool.map(
                lambda entry, registry: inspect_entry(entry, registry, options, models.get(entry.name)),
                entries,
                registries,
            )
        )
    steps = tuple(one for one in found if isinstance(one, Step))
    return Plan(steps=steps, blockers=tuple(blocker for one in found if not isinstance(one, Step) for blocker in one))


def models_of(entries: Iterable[Entry], registry_of: Callable[[Entry], Registry]) -> dict[str, Model]:
    """Return the models of the entries that MLflow can list in one request; the others are read one by one.

    Raises LifecycleError.
    """
    found: dict[str, Model] = {}
    for _, group in groupby(sorted(entries, key=project_of_entry), project_of_entry):
        some = list(group)
        if len(some) > 1:
            found |= registry_of(some[0]).models_named(entry.name for entry in some)
    return found


def inspect_entry(
    entry: Entry, registry: Registry, options: PromotionOptions, known: Model | None = None
) -> Step | list[Blocker]:
    """Return the step of an entry, or its blockers, with the fewest requests.

    `known` is the model as it was just read.
    """
    try:
        model = known or registry.model(entry.name)
        version = model.version(entry.version)
        if version is None:
            newest = model.versions[0].version if model.versions else "none"
            raise NotFoundError(f"there is no such version; the newest is {newest}")
        if found := list(blockers(entry, model, version, options)):
            return found
        digest = digest_of(registry, version)
    except LifecycleError as error:
        return [Blocker(entry=entry, text=str(error), exit_code=error.exit_code)]
    blocker = digest_blocker(entry, digest)
    return [blocker] if blocker else step_of(entry, model, version, digest, options)
