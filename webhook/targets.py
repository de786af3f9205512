"""Which containers of a pod get the model: B7 to B9, B19, B20 and B31."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_contract.names import ARTIFACTS_PATH, INJECT, RUN_ID
from webhook.annotations import Wishes
from webhook.decision import RefusalError, remark
from webhook.demand import Candidate, Demand
from webhook.pod import Container, Pod
from webhook.reasons import Reason
from webhook.settings import Settings

NO_DOWNLOAD = "the model will not be downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The containers that get the model, and the model that they ask for."""

    containers: tuple[Container, ...]
    demand: Demand
    warnings: tuple[str, ...]


def choose(pod: Pod, wishes: Wishes, settings: Settings) -> Targets:
    """Raises RefusalError with the rule by which no container gets a model."""
    candidates = survey(pod, wishes)
    complete = [candidate for candidate in candidates if candidate.demand.complete]
    if not complete and inspects_env_from(wishes, settings):
        complete = completed_by_sources(candidates)
    if not complete:
        raise why_none(candidates, wishes, settings)
    targets = [candidate for candidate in complete if not candidate.own_path]
    if not targets:
        raise RefusalError(Reason.OWN_ARTIFACTS_PATH, own_path_sentence(complete[0]))
    for target in targets:
        target.check()
    demand = the_one_demand(targets)
    return Targets(containers=tuple(target.container for target in targets), demand=demand, warnings=remarks(complete, demand))


def survey(pod: Pod, wishes: Wishes) -> list[Candidate]:
    """The containers among which is chosen, and what each asks for."""
    return [Candidate.of(container) for container in pod.containers if wishes.containers is None or container.name in wishes.containers]


def inspects_env_from(wishes: Wishes, settings: Settings) -> bool:
    return settings.env_from == "inject" or (settings.env_from == "annotated" and wishes.inspect_env_from)


def completed_by_sources(candidates: Sequence[Candidate]) -> list[Candidate]:
    """Those whose `envFrom` may hold what `env` does not give; those that name a variable themselves come before all others."""
    possible = [candidate for candidate in candidates if candidate.demand.completed_by_sources]
    return [candidate for candidate in possible if candidate.mentions] or possible


def the_one_demand(targets: Sequence[Candidate]) -> Demand:
    first = targets[0]
    other = next((target for target in targets if target.demand != first.demand), None)
    if not other:
        return first.demand
    pair = f"containers {first.container.title} and {other.container.title}"
    if first.demand.complete:
        raise RefusalError(Reason.TOO_MANY_MODELS, f"{pair} ask for different models; a pod gets one: give each model a pod of its own")
    raise RefusalError(Reason.AMBIGUOUS_ENVFROM, f"{pair} have different envFrom; {NO_DOWNLOAD}; name one in the annotation containers")


def why_none(candidates: Sequence[Candidate], wishes: Wishes, settings: Settings) -> RefusalError:
    asking = [candidate for candidate in candidates if candidate.mentions or wishes.containers]
    unseen = next((candidate for candidate in candidates if candidate.demand.completed_by_sources), None)
    if unseen and settings.env_from == "annotated":
        return RefusalError(
            Reason.ENVFROM_NOT_INSPECTED,
            f'container {unseen.container.title} has envFrom; annotate {INJECT}: "true" if the model is named there',
        )
    if not asking:
        return RefusalError(Reason.NO_MODEL_VARIABLES, "")
    if not set.intersection(*(set(candidate.demand.missing) for candidate in asking)):
        return RefusalError(Reason.SPLIT_ENV, f"the variables are spread over {titles(asking)}; {NO_DOWNLOAD}; set all on one")
    closest = min(asking, key=lambda candidate: len(candidate.demand.missing))
    return RefusalError(Reason.INCOMPLETE_ENV, incomplete_sentence(closest))


def incomplete_sentence(candidate: Candidate) -> str:
    missing = candidate.demand.missing
    verb = "is" if len(missing) == 1 else "are"
    return f"{', '.join(missing)} {verb} not set on container {candidate.container.title}; {NO_DOWNLOAD}"


def own_path_sentence(candidate: Candidate) -> str:
    return f"container {candidate.container.title} sets {ARTIFACTS_PATH} itself; {NO_DOWNLOAD}"


def remarks(complete: Sequence[Candidate], demand: Demand) -> tuple[str, ...]:
    """What is odd about a pod that gets its model all the same."""
    own = [remark(Reason.OWN_ARTIFACTS_PATH, own_path_sentence(candidate)) for candidate in complete if candidate.own_path]
    odd = remark(Reason.UNUSUAL_RUN_ID, f"{RUN_ID} is not 32 hexadecimal digits, as the ids of MLflow are")
    return (*own, odd) if demand.unusual_run_id else tuple(own)


def titles(candidates: Sequence[Candidate]) -> str:
    return ", ".join(candidate.container.title for candidate in candidates)
