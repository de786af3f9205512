"""The decision about one pod: a pure function of the review and the settings, without clock, network or cluster."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from model_contract.model_ref import shown
from model_contract.names import (
    INIT_CONTAINER,
    MODEL_OWNER,
    MODEL_VARIABLES,
    PROJECT_ID_LABEL,
    RUN_ID,
    STATUS_ANNOTATION,
)
from webhook import review as envelope
from webhook.annotations import PodAnnotations, read_annotations
from webhook.cluster_dns import dns_warnings
from webhook.decision import Decision, ModelImage, RefusalError, warning
from webhook.model_image import find_model_image, unused_image_warnings
from webhook.mutation.ephemeral_storage import size_store, storage_warnings
from webhook.mutation.existing_init_container import check_name_is_free
from webhook.mutation.injection import Injection
from webhook.mutation.patch import annotate, patch_operations
from webhook.mutation.placement import Placement, place_init_container
from webhook.mutation.token_guard import check_token_exposure
from webhook.operating_system import runs_on_windows
from webhook.pod import MalformedPodError, Pod, text
from webhook.reasons import Outcome, Reason
from webhook.selection import failed_rule
from webhook.settings import Settings
from webhook.targets import Targets, choose_targets
from webhook.unknown_keys import unknown_key_warnings

Json = Mapping[str, Any]

POD: Final = {"group": "", "version": "v1", "kind": "Pod"}


def admit(review: Json, settings: Settings) -> dict[str, Any]:
    """Return the AdmissionReview that answers `review`. Raises InvalidReview."""
    return envelope.answer(review, decide(review, settings))


def decide(review: Json, settings: Settings) -> Decision:
    """Return the decision about the pod in `review`. Raises InvalidReview."""
    request = envelope.request_of(review)
    if not is_pod_creation(request):
        return Decision(reason=Reason.NOT_POD_CREATE)
    try:
        return decide_pod(request["object"], namespace_of(request), settings)
    except MalformedPodError as error:
        return Decision(reason=Reason.MALFORMED_POD, message=str(error))


def is_pod_creation(request: Json) -> bool:
    """Return True for the creation of a pod, the only request that the webhook's own registration sends."""
    return (
        request.get("kind") == POD
        and not request.get("subResource")
        and request.get("operation") == "CREATE"
        and isinstance(request.get("object"), dict)
    )


def namespace_of(request: Json) -> str:
    namespace = request.get("namespace")
    return namespace if isinstance(namespace, str) else ""


def decide_pod(raw: Json, namespace: str, settings: Settings) -> Decision:
    """Return the decision about the pod in `raw`. Raises MalformedPodError if a field has the wrong type."""
    pod = Pod.read(raw)
    if reason := failed_rule(raw, namespace, settings):
        return Decision(reason=reason)
    try:
        decision = inject(pod, settings)
    except RefusalError as error:
        decision = decision_of_refusal(pod, error)
    unknown = unknown_key_warnings(pod)
    return replace(decision, warnings=(*decision.warnings, *unknown)) if unknown else decision


def decision_of_refusal(pod: Pod, error: RefusalError) -> Decision:
    """Return the decision of a rule that refuses the pod. A skipped pod also gets the status annotation."""
    reason, message = error.reason, str(error)
    if reason.outcome is Outcome.SKIPPED:
        status = {STATUS_ANNOTATION: f"{Outcome.SKIPPED}:{reason}"}
        return Decision(reason=reason, message=message, warnings=(message,), operations=tuple(annotate(pod, status)))
    return Decision(reason=reason, message=message)


def inject(pod: Pod, settings: Settings) -> Decision:
    """Return the decision to inject the model. Raises RefusalError if a rule refuses the pod."""
    if runs_on_windows(pod):
        raise RefusalError(Reason.WINDOWS_UNSUPPORTED, "the pod runs on Windows; the model will not be downloaded")
    annotations = read_annotations(pod)
    targets = choose_targets(pod, annotations, settings)
    check_model_is_known(targets, settings)
    store = size_store(pod, settings)
    injection = Injection(
        pod=pod,
        targets=targets,
        annotations=annotations,
        settings=settings,
        project_id=token_project(pod, settings),
        store_size=store.size,
        image=model_image(pod, targets, annotations, settings),
    )
    check_name_is_free(pod)
    check_token_exposure(injection)
    placement = placement_of(injection)
    changes = tuple(patch_operations(injection, placement, Outcome.INJECTED.value))
    return Decision(
        reason=Reason.INJECTED if changes else Reason.ALREADY_INJECTED,
        operations=changes,
        warnings=(
            *targets.warnings,
            *mesh_warnings(placement),
            *storage_warnings(store, settings),
            *dns_warnings(pod, settings),
            *unused_image_warnings(annotations.image, settings),
        ),
        model=targets.model_variables.model,
        image=injection.image,
    )


def check_model_is_known(targets: Targets, settings: Settings) -> None:
    """Raise RefusalError if an image or a claim brings the model, and a variable for its path has no literal value."""
    container = targets.containers[0].title
    if settings.delivery == "image" and not targets.model_variables.model:
        raise RefusalError(
            Reason.DEFERRED_WITH_IMAGE,
            f"models are mounted from images: give {', '.join(MODEL_VARIABLES)} of container {container} by value",
        )
    if settings.delivery == "volume" and not targets.model_variables.owner_and_run_id:
        raise RefusalError(
            Reason.DEFERRED_WITH_VOLUME,
            f"models are mounted from a shared volume: give {MODEL_OWNER} and {RUN_ID} of container"
            f" {container} by value",
        )


def placement_of(injection: Injection) -> Placement | None:
    """Return the position of the init container; None if the model comes by an image, which needs none."""
    if injection.image:
        return None
    return place_init_container(
        injection.pod,
        needs_network=injection.settings.delivery == "fetch",
        first_target=injection.targets.first_init_container,
    )


def model_image(pod: Pod, targets: Targets, annotations: PodAnnotations, settings: Settings) -> ModelImage | None:
    """Return the image of the model; None if models come another way. Raises RefusalError."""
    if settings.delivery != "image" or not (model := targets.model_variables.model):
        return None
    project_id = project_of(pod, settings, "it chooses the repository of the model's image")
    return find_model_image(annotations.image, project_id, model.run_id, settings)


def token_project(pod: Pod, settings: Settings) -> str | None:
    """Return the id of the project whose pull token fetches the model; None if no pull token is needed.

    Raises RefusalError as `project_of` does.
    """
    if settings.token != "pull" or settings.delivery != "fetch":
        return None
    return project_of(pod, settings, "it chooses the token that fetches the model")


def project_of(pod: Pod, settings: Settings, purpose: str) -> str:
    """Return the id of the pod's project, from a label that the platform sets, not the user.

    Raises RefusalError with the purpose if it is missing or invalid.
    """
    project_id = text(pod.labels, PROJECT_ID_LABEL)
    if not settings.project_id_pattern.fullmatch(project_id):
        fault = f"is {shown(project_id)}, which is no project id" if project_id else "is missing"
        raise RefusalError(Reason.MISSING_PROJECT_ID, f"label {PROJECT_ID_LABEL} {fault}: {purpose}")
    return project_id


def mesh_warnings(placement: Placement | None) -> tuple[str, ...]:
    """Return the warnings about a service mesh that blocks the fetch, or that the fetch bypasses."""
    if not placement:
        return ()
    if placement.captured:
        return (
            warning(
                Reason.BEHIND_MESH_INIT,
                f"{INIT_CONTAINER} runs after the mesh's init container: it may have no network",
            ),
        )
    if placement.run_as_user:
        bypass = f"the model download bypasses the mesh: {INIT_CONTAINER} runs as uid {placement.run_as_user}"
        return (warning(Reason.MESH_BYPASSED, bypass),)
    return ()
