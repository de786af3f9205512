"""Which containers of a pod get the model: B7 to B9, B19, B20 and B31."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_contract.names import ARTIFACTS_PATH, INJECT, RUN_ID
from webhook.annotations import Wishes
from webhook.decision import RefusalError, remark
from webhook.demand import Candidate, Demand
from webhook.infrastructure import NO_TARGETS
from webhook.pod import Container, Field, Pod
from webhook.reasons import Reason
from webhook.settings import Settings

NO_DOWNLOAD = "the model will not be downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The containers and init containers that get the model, and the model that they ask for."""

    containers: tuple[Container, ...]
    demand: Demand
    warnings: tuple[str, ...]

    @property
    def first_init_container(self) -> Container | None:
        """The first of them that runs before the containers of the pod; native sidecars are among them."""
        found = [container for container in self.containers if container.field is Field.INIT_CONTAINERS]
        return min(found, key=lambda container: container.index, default=None)


def choose(pod: Pod, wishes: Wishes, settings: Settings) -> Targets:
    """Raises RefusalError with the rule by which no container gets a model."""
    candidates = survey(pod, wishes)
    complete = [candidate for candidate in candidates if candidate.demand.complete]
    if not complete and inspects_env_from(wishes, settings):
        complete = completed_by_sources(candidates, wishes)
    if not complete:
        raise why_none(candidates, wishes, settings)
    targets = [candidate for candidate in complete if not candidate.brings_its_own(candidate.demand)]
    if not targets:
        raise RefusalError(Reason.OWN_ARTIFACTS_PATH, own_path_sentence(complete[0]))
    for target in targets:
        target.check()
    demand = the_one_demand(targets)
    companions = companions_of(complete, candidates, wishes)
    served = [*targets, *(candidate for candidate in companions if not candidate.brings_its_own(demand))]
    return Targets(
        containers=tuple(candidate.container for candidate in served),
        demand=demand,
        warnings=remarks([candidate for candidate in (*complete, *companions) if candidate not in served], demand),
    )


def survey(pod: Pod, wishes: Wishes) -> list[Candidate]:
    """The containers among which is chosen, and what each asks for: those that run with the pod first, then those
    before it.
    """
    return [
        Candidate.of(container)
        for container in (*pod.containers, *pod.init_containers)
        if is_candidate(container, wishes)
    ]


def is_candidate(container: Container, wishes: Wishes) -> bool:
    """Whether the container may get the model: one that the annotation names, or any that is no mesh's and no
    injector's.
    """
    if wishes.containers is not None:
        return container.name in wishes.containers
    return container.field is Field.CONTAINERS or container.name not in NO_TARGETS


def companions_of(complete: Sequence[Candidate], candidates: Sequence[Candidate], wishes: Wishes) -> list[Candidate]:
    """Those that the annotation names and that name none of the variables themselves: they get the
    model of the others.
    """
    if wishes.containers is None:
        return []
    return [candidate for candidate in candidates if candidate not in complete and not candidate.mentions]


def inspects_env_from(wishes: Wishes, settings: Settings) -> bool:
    return settings.env_from == "inject" or (settings.env_from == "annotated" and wishes.inspect_env_from)


def completed_by_sources(candidates: Sequence[Candidate], wishes: Wishes) -> list[Candidate]:
    """Those whose `envFrom` may hold what `env` does not give; those that name a variable themselves come before all
    others.

    Init containers follow the containers of the pod: they get the model if they have the same sources, or if nothing
    else may have it.
    """
    possible = [candidate for candidate in candidates if candidate.demand.completed_by_sources]
    regular = [candidate for candidate in possible if candidate.container.field is Field.CONTAINERS]
    asking = (
        possible
        if wishes.inspect_env_from or wishes.containers
        else [candidate for candidate in possible if candidate.mentions]
    )
    first = preferred(regular) or preferred(asking)
    demands = [candidate.demand for candidate in first]
    return [candidate for candidate in possible if candidate in first or candidate.demand in demands]


def preferred(possible: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in possible if candidate.mentions] or [*possible]


def the_one_demand(targets: Sequence[Candidate]) -> Demand:
    first = targets[0]
    other = next((target for target in targets if target.demand != first.demand), None)
    if not other:
        return first.demand
    pair = f"containers {first.container.title} and {other.container.title}"
    if first.demand.complete:
        raise RefusalError(
            Reason.TOO_MANY_MODELS, f"{pair} ask for different models; a pod gets one: give each model a pod of its own"
        )
    raise RefusalError(
        Reason.AMBIGUOUS_ENVFROM, f"{pair} have different envFrom; {NO_DOWNLOAD}; name one in the annotation containers"
    )


def why_none(candidates: Sequence[Candidate], wishes: Wishes, settings: Settings) -> RefusalError:
    asking = [candidate for candidate in candidates if candidate.mentions or wishes.containers]
    unseen = next((candidate for candidate in candidates if may_be_meant(candidate, wishes)), None)
    if unseen and settings.env_from == "annotated":
        return RefusalError(
            Reason.ENVFROM_NOT_INSPECTED,
            f'container {unseen.container.title} has envFrom; annotate {INJECT}: "true" if the model is named there',
        )
    if not asking:
        return RefusalError(Reason.NO_MODEL_VARIABLES, "")
    if not set.intersection(*(set(candidate.demand.missing) for candidate in asking)):
        return RefusalError(
            Reason.SPLIT_ENV, f"the variables are spread over {titles(asking)}; {NO_DOWNLOAD}; set all on one"
        )
    closest = min(asking, key=lambda candidate: len(candidate.demand.missing))
    return RefusalError(Reason.INCOMPLETE_ENV, incomplete_sentence(closest))


def may_be_meant(candidate: Candidate, wishes: Wishes) -> bool:
    """Whether `envFrom` may complete the variables, and the container is one of which that is likely."""
    likely = candidate.container.field is Field.CONTAINERS or candidate.mentions or wishes.containers is not None
    return likely and candidate.demand.completed_by_sources


def incomplete_sentence(candidate: Candidate) -> str:
    missing = candidate.demand.missing
    verb = "is" if len(missing) == 1 else "are"
    return f"{', '.join(missing)} {verb} not set on container {candidate.container.title}; {NO_DOWNLOAD}"


def own_path_sentence(candidate: Candidate) -> str:
    return f"container {candidate.container.title} sets {ARTIFACTS_PATH} itself; {NO_DOWNLOAD}"


def remarks(left_out: Sequence[Candidate], demand: Demand) -> tuple[str, ...]:
    """What is odd about a pod that gets its model all the same."""
    own = [remark(Reason.OWN_ARTIFACTS_PATH, own_path_sentence(candidate)) for candidate in left_out]
    odd = remark(Reason.UNUSUAL_RUN_ID, f"{RUN_ID} is not 32 hexadecimal digits, as the ids of MLflow are")
    return (*own, odd) if demand.unusual_run_id else tuple(own)


def titles(candidates: Sequence[Candidate]) -> str:
    return ", ".join(candidate.container.title for candidate in candidates)
