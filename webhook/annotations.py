"""The annotations of a pod that change how the webhook treats it. A value that cannot be used denies the pod."""

from dataclasses import dataclass

from model_contract.image_reference import ImageReference
from model_contract.model_ref import shown
from model_contract.names import (
    CONTAINERS_ANNOTATION,
    CPU_LIMIT_ANNOTATION,
    DEADLINE_ANNOTATION,
    IMAGE_ANNOTATION,
    INIT_CONTAINER,
    INJECT,
    MEMORY_LIMIT_ANNOTATION,
)
from model_contract.quantity import Quantity, QuantityError
from webhook.decision import RefusalError
from webhook.pod import Pod, text
from webhook.reasons import Reason
from webhook.setting_types import duration


@dataclass(frozen=True, slots=True, kw_only=True)
class PodAnnotations:
    """The values of the webhook's annotations on a pod; `deadline` is in seconds.

    `containers` is None if the annotation is absent, so that the variables choose the containers.
    """

    inspect_env_from: bool
    containers: frozenset[str] | None
    cpu_limit: Quantity | None
    memory_limit: Quantity | None
    deadline: int | None
    image: ImageReference | None


def read_annotations(pod: Pod) -> PodAnnotations:
    """Return the annotations of `pod`. Raises RefusalError if a value cannot be used."""
    return PodAnnotations(
        inspect_env_from=_inject(pod),
        containers=_containers(pod),
        cpu_limit=_limit(pod, CPU_LIMIT_ANNOTATION),
        memory_limit=_limit(pod, MEMORY_LIMIT_ANNOTATION),
        deadline=_deadline(pod),
        image=_image(pod),
    )


def _inject(pod: Pod) -> bool:
    value = text(pod.annotations, INJECT)
    if value not in {"", "true"}:
        raise _invalid(INJECT, value, 'it must be "true"; to opt out, set it as a label to "false"')
    return value == "true"


def _containers(pod: Pod) -> frozenset[str] | None:
    value = text(pod.annotations, CONTAINERS_ANNOTATION)
    if not value:
        return None
    chosen = frozenset(part.strip() for part in value.split(","))
    candidates = [
        container for container in (*pod.containers, *pod.init_containers) if container.name != INIT_CONTAINER
    ]
    if unknown := sorted(chosen - {container.name for container in candidates}):
        existing = ", ".join(container.title for container in candidates)
        raise _invalid(CONTAINERS_ANNOTATION, value, f"there is no container {shown(unknown[0])}; there are {existing}")
    return chosen


def _limit(pod: Pod, annotation: str) -> Quantity | None:
    value = text(pod.annotations, annotation)
    if not value:
        return None
    try:
        limit = Quantity.parse(value)
    except QuantityError as error:
        raise _invalid(annotation, value, str(error)) from None
    if not limit.amount:
        raise _invalid(annotation, value, "it must be more than 0")
    return limit


def _deadline(pod: Pod) -> int | None:
    if not (value := text(pod.annotations, DEADLINE_ANNOTATION)):
        return None
    try:
        return duration(value)
    except ValueError as error:
        raise _invalid(DEADLINE_ANNOTATION, value, str(error)) from None


def _image(pod: Pod) -> ImageReference | None:
    if not (value := text(pod.annotations, IMAGE_ANNOTATION)):
        return None
    try:
        image = ImageReference.parse(value)
    except ValueError as error:
        raise _invalid(IMAGE_ANNOTATION, value, str(error)) from None
    if image.tag or not image.digest:
        raise _invalid(IMAGE_ANNOTATION, value, "it must name the image by digest alone, as <repository>@sha256:...")
    return image


def _invalid(annotation: str, value: str, verdict: str) -> RefusalError:
    return RefusalError(Reason.INVALID_ANNOTATION, f"annotation {annotation} is {shown(value)}: {verdict}")
