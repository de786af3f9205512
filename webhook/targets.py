"""The choice of the containers of a pod that get its model."""

from collections.abc import Sequence
from dataclasses import dataclass

from model_contract.names import ARTIFACTS_PATH, INJECT, MODEL_VARIABLES, RUN_ID
from webhook.annotations import PodAnnotations
from webhook.decision import RefusalError, warning
from webhook.environment import names_any
from webhook.injectors import NEVER_TARGETS
from webhook.model_variables import Candidate, ModelVariables
from webhook.pod import Container, Field, Pod
from webhook.reasons import Reason
from webhook.settings import Settings

NO_DOWNLOAD = "the model will not be downloaded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """The containers and init containers that get the model, and the variables that name it."""

    containers: tuple[Container, ...]
    model_variables: ModelVariables
    warnings: tuple[str, ...]

    @property
    def first_init_container(self) -> Container | None:
        """The first init container that gets the model, native sidecars included; None if there is none."""
        found = [container for container in self.containers if container.field is Field.INIT_CONTAINERS]
        return min(found, key=lambda container: container.index, default=None)


def choose_targets(pod: Pod, annotations: PodAnnotations, settings: Settings) -> Targets:
    """Return the containers that get the model. Raises RefusalError with the reason if there is none."""
    candidates = find_candidates(pod, annotations)
    complete = [candidate for candidate in candidates if candidate.model_variables.complete]
    if not complete and inspects_env_from(annotations, settings):
        complete = completed_by_env_from(candidates, annotations)
    if not complete:
        raise no_target_error(candidates, annotations, settings)
    targets = [candidate for candidate in complete if not candidate.sets_other_path(candidate.model_variables)]
    if not targets:
        raise RefusalError(Reason.OWN_ARTIFACTS_PATH, own_path_message(complete[0]))
    for target in targets:
        target.check_variables()
    model_variables = single_model(targets)
    without_variables = chosen_without_variables(complete, candidates, annotations)
    served = [
        *targets,
        *(candidate for candidate in without_variables if not candidate.sets_other_path(model_variables)),
    ]
    return Targets(
        containers=tuple(candidate.container for candidate in served),
        model_variables=model_variables,
        warnings=target_warnings(
            [candidate for candidate in (*complete, *without_variables) if candidate not in served], model_variables
        ),
    )


def find_candidates(pod: Pod, annotations: PodAnnotations) -> list[Candidate]:
    """Return the containers that may get the model: regular containers first, then init containers."""
    return [
        Candidate.of(container)
        for container in (*pod.containers, *pod.init_containers)
        if is_candidate(container, annotations)
    ]


def is_candidate(container: Container, annotations: PodAnnotations) -> bool:
    """Return True if the annotation names the container, or, without that annotation, if it may name a model."""
    if annotations.containers is not None:
        return container.name in annotations.containers
    if container.field is Field.INIT_CONTAINERS and container.name in NEVER_TARGETS:
        return False
    return bool(container.env_from) or names_any(container, MODEL_VARIABLES)


def chosen_without_variables(
    complete: Sequence[Candidate], candidates: Sequence[Candidate], annotations: PodAnnotations
) -> list[Candidate]:
    """Return the containers that the annotation names and that set no variable; each gets the model of the others."""
    if annotations.containers is None:
        return []
    return [candidate for candidate in candidates if candidate not in complete and not candidate.names_variables]


def inspects_env_from(annotations: PodAnnotations, settings: Settings) -> bool:
    return settings.env_from == "inject" or (settings.env_from == "annotated" and annotations.inspect_env_from)


def completed_by_env_from(candidates: Sequence[Candidate], annotations: PodAnnotations) -> list[Candidate]:
    """Return the containers whose `envFrom` may hold the variables that `env` does not give.

    Containers that name a variable in `env` come before all others. Init containers get the model if they have the same
    sources as the chosen containers, or if no regular container may have it.
    """
    possible = [candidate for candidate in candidates if candidate.model_variables.completed_by_env_from]
    regular = [candidate for candidate in possible if candidate.container.field is Field.CONTAINERS]
    asking = (
        possible
        if annotations.inspect_env_from or annotations.containers
        else [candidate for candidate in possible if candidate.names_variables]
    )
    first = preferred(regular) or preferred(asking)
    chosen_variables = [candidate.model_variables for candidate in first]
    return [candidate for candidate in possible if candidate in first or candidate.model_variables in chosen_variables]


def preferred(possible: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in possible if candidate.names_variables] or [*possible]


def single_model(targets: Sequence[Candidate]) -> ModelVariables:
    first = targets[0]
    other = next((target for target in targets if target.model_variables != first.model_variables), None)
    if not other:
        return first.model_variables
    pair = f"containers {first.container.title} and {other.container.title}"
    if first.model_variables.complete:
        raise RefusalError(
            Reason.TOO_MANY_MODELS, f"{pair} ask for different models; a pod gets one: give each model a pod of its own"
        )
    raise RefusalError(
        Reason.AMBIGUOUS_ENVFROM, f"{pair} have different envFrom; {NO_DOWNLOAD}; name one in the annotation containers"
    )


def no_target_error(candidates: Sequence[Candidate], annotations: PodAnnotations, settings: Settings) -> RefusalError:
    asking = [candidate for candidate in candidates if candidate.names_variables or annotations.containers]
    unseen = next((candidate for candidate in candidates if env_from_may_name_model(candidate, annotations)), None)
    if unseen and settings.env_from == "annotated":
        return RefusalError(
            Reason.ENVFROM_NOT_INSPECTED,
            f'container {unseen.container.title} has envFrom; annotate {INJECT}: "true" if the model is named there',
        )
    if not asking:
        return RefusalError(Reason.NO_MODEL_VARIABLES, "")
    if not set.intersection(*(set(candidate.model_variables.missing) for candidate in asking)):
        return RefusalError(
            Reason.SPLIT_ENV, f"the variables are spread over {names_of(asking)}; {NO_DOWNLOAD}; set all on one"
        )
    closest = min(asking, key=lambda candidate: len(candidate.model_variables.missing))
    return RefusalError(Reason.INCOMPLETE_ENV, incomplete_message(closest))


def env_from_may_name_model(candidate: Candidate, annotations: PodAnnotations) -> bool:
    """Return True if `envFrom` may complete the variables, and the container is likely to need a model."""
    likely = (
        candidate.container.field is Field.CONTAINERS or candidate.names_variables or annotations.containers is not None
    )
    return likely and candidate.model_variables.completed_by_env_from


def incomplete_message(candidate: Candidate) -> str:
    missing = candidate.model_variables.missing
    verb = "is" if len(missing) == 1 else "are"
    return f"{', '.join(missing)} {verb} not set on container {candidate.container.title}; {NO_DOWNLOAD}"


def own_path_message(candidate: Candidate) -> str:
    return f"container {candidate.container.title} sets {ARTIFACTS_PATH} itself; {NO_DOWNLOAD}"


def target_warnings(left_out: Sequence[Candidate], model_variables: ModelVariables) -> tuple[str, ...]:
    """Return the warnings for a pod that gets its model although something about it is unusual."""
    own = [warning(Reason.OWN_ARTIFACTS_PATH, own_path_message(candidate)) for candidate in left_out]
    odd = warning(Reason.UNUSUAL_RUN_ID, f"{RUN_ID} is not 32 hexadecimal digits, as the ids of MLflow are")
    return (*own, odd) if model_variables.unusual_run_id else tuple(own)


def names_of(candidates: Sequence[Candidate]) -> str:
    return ", ".join(candidate.container.title for candidate in candidates)
