"""Apply a plan: every step, or none."""

from collections.abc import Callable, Iterable
from concurrent.futures import Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from enum import StrEnum

from model_contract.exit_codes import ExitCode
from model_lifecycle.errors import (
    LifecycleError,
    NotAuthorisedError,
    PreconditionError,
    UnavailableError,
    unexpected,
)
from model_lifecycle.interrupts import signals_raise
from model_lifecycle.promotion import changes
from model_lifecycle.promotion.changes import PromotionRecord, Undo
from model_lifecycle.promotion.preflight import PARALLEL, Plan, inspect_entry, models_of
from model_lifecycle.promotion.steps import PromotionOptions, Step
from model_lifecycle.promotion_file import Entry
from model_lifecycle.registry import Registry


class Result(StrEnum):
    """The end of a promotion."""

    DONE = "done"
    NOTHING = "nothing to do"
    REFUSED = "refused, nothing has moved"
    PUT_BACK = "failed, everything is as it was"
    PARTIAL = "failed, not everything is as it was"


EXIT_CODES = {
    Result.DONE: ExitCode.DONE,
    Result.NOTHING: ExitCode.DONE,
    Result.REFUSED: ExitCode.NOT_AUTHORISED,
    Result.PUT_BACK: ExitCode.PUT_BACK,
    Result.PARTIAL: ExitCode.PARTIAL,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`fault` is the reason of a failure; `left` are the steps that could not be put back, each with the reason.

    `failed` is the step that failed; None if the promotion was interrupted, met an unexpected error, or could not list
    the models again.
    """

    result: Result
    failed: Step | None = None
    fault: str = ""
    left: tuple[tuple[Step, str], ...] = ()

    @property
    def exit_code(self) -> ExitCode:
        return EXIT_CODES[self.result]


def apply(plan: Plan, registry_of: Callable[[Entry], Registry], promotion: PromotionRecord) -> Outcome:
    """Apply the steps in parallel, then read them back; most of the time is MLflow's.

    If a step fails, or does not hold when it is read back, no other step begins, and those that began are put back. So
    it is after SIGINT, SIGTERM or an unexpected error.
    """
    begun: list[tuple[Step, Undo]] = []
    failed: Step | None = None

    def begin(step: Step) -> None:
        undo: Undo = []
        begun.append((step, undo))
        _apply(registry_of(step.entry), step, promotion, undo)

    with signals_raise() as ignore_signals, ThreadPoolExecutor(max_workers=PARALLEL) as pool:
        try:
            ends = _started(pool, begin, plan.changes)
            for end in as_completed(ends):
                failed = ends[end]
                end.result()
            failed = None  # the models are listed next, which is the work of no step
            ends = _started(pool, _read_back(plan, registry_of), plan.changes)
            for end in as_completed(ends):
                failed = ends[end]
                end.result()
        except LifecycleError as error:
            ignore_signals()
            pool.shutdown(cancel_futures=True)
            if isinstance(error, NotAuthorisedError) and not any(undo for _, undo in begun):
                # A token that only reads is refused by the first write.
                return Outcome(result=Result.REFUSED, failed=failed, fault=str(error))
            return _put_back(begun, failed, str(error))
        except BaseException as error:  # noqa: BLE001  the outcome has it
            ignore_signals()
            pool.shutdown(cancel_futures=True)
            fault = unexpected(error) if isinstance(error, Exception) else str(error) or "interrupted"
            return _put_back(begun, None, fault)
    return Outcome(result=Result.DONE if begun else Result.NOTHING)


def _started(pool: Executor, work: Callable[[Step], None], steps: Iterable[Step]) -> dict[Future[None], Step]:
    return {pool.submit(work, step): step for step in steps}


def _read_back(plan: Plan, registry_of: Callable[[Entry], Registry]) -> Callable[[Step], None]:
    """Return a function that raises LifecycleError if a step does not hold."""
    models = models_of((step.entry for step in plan.changes), registry_of)
    return lambda step: changes.check(registry_of(step.entry), step, models.get(step.entry.name))


def _apply(registry: Registry, step: Step, promotion: PromotionRecord, undo: Undo) -> None:
    """Apply a step. If another caller has moved the same version meanwhile, do the rest of the step."""
    try:
        changes.apply(registry, step, promotion, undo)
    except PreconditionError:
        again = inspect_entry(step.entry, registry, PromotionOptions(alias_only=step.alias_only))
        if not isinstance(again, Step) or again.moves:
            raise
        changes.apply(registry, again, promotion, undo)


def _put_back(begun: list[tuple[Step, Undo]], failed: Step | None, fault: str) -> Outcome:
    left: list[tuple[Step, str]] = []
    gone = ""
    for step, undo in reversed(begun):
        if gone and undo:  # each try would take as long as the first
            left.append((step, gone))
            continue
        try:
            for back in reversed(undo):
                back()
        except LifecycleError as error:
            left.append((step, str(error)))
            gone = str(error) if isinstance(error, UnavailableError) else gone
        except Exception as error:  # noqa: BLE001  the other steps are put back all the same
            left.append((step, unexpected(error)))
    return Outcome(result=Result.PARTIAL if left else Result.PUT_BACK, failed=failed, fault=fault, left=tuple(left))
