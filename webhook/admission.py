"""The decision about one pod: a pure function of the review and the settings. No clock, no network, no cluster."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from model_contract.model_ref import shown
from model_contract.names import INIT_CONTAINER, MODEL_OWNER, PROJECT_ID_LABEL, RUN_ID, STATUS_ANNOTATION
from webhook import review as envelope
from webhook.annotations import read_wishes
from webhook.cluster_dns import dns_warnings
from webhook.decision import Decision, RefusalError, remark
from webhook.mutation.injection import Injection
from webhook.mutation.local_storage import storage_warnings, store_of
from webhook.mutation.patch import annotate, operations
from webhook.mutation.placement import Placement, place
from webhook.mutation.present import check_names
from webhook.mutation.token_guard import check_token
from webhook.operating_system import runs_on_windows
from webhook.own_keys import key_warnings
from webhook.pod import MalformedPodError, Pod, text
from webhook.reasons import Outcome, Reason
from webhook.selection import evaluate, refusal
from webhook.settings import Settings
from webhook.targets import Targets, choose

Json = Mapping[str, Any]

POD: Final = {"group": "", "version": "v1", "kind": "Pod"}


def admit(review: Json, settings: Settings) -> dict[str, Any]:
    """The AdmissionReview that answers `review`; raises InvalidReview where that is none."""
    return envelope.answer(review, decide(review, settings))


def decide(review: Json, settings: Settings) -> Decision:
    """What is to happen to the pod in `review`; raises InvalidReview where that is none (B2, B4)."""
    request = envelope.request_of(review)
    if not is_creation_of_a_pod(request):
        return Decision(reason=Reason.NOT_POD_CREATE)
    try:
        return decide_pod(request["object"], namespace_of(request), settings)
    except MalformedPodError as error:
        return Decision(reason=Reason.MALFORMED_POD, message=str(error))


def is_creation_of_a_pod(request: Json) -> bool:
    """B5. Whatever else comes here was sent by a registration that is not ours."""
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
    """Raises MalformedPodError where `raw` has not the shape of a pod (B21)."""
    pod = Pod.read(raw)
    if reason := refusal(evaluate(raw, namespace, None, settings)):
        return Decision(reason=reason)
    try:
        decision = inject(pod, settings)
    except RefusalError as error:
        decision = refused(pod, error)
    return replace(decision, warnings=(*decision.warnings, *key_warnings(pod)))


def refused(pod: Pod, error: RefusalError) -> Decision:
    """A denial says why to whoever creates the pod; a skip also says it on the pod."""
    reason, message = error.reason, str(error)
    if reason.outcome is Outcome.SKIPPED:
        status = {STATUS_ANNOTATION: f"{Outcome.SKIPPED}:{reason}"}
        return Decision(reason=reason, message=message, warnings=(message,), operations=tuple(annotate(pod, status)))
    return Decision(reason=reason, message=message)


def inject(pod: Pod, settings: Settings) -> Decision:
    """Raises RefusalError with the rule that ends it."""
    if runs_on_windows(pod):
        raise RefusalError(Reason.WINDOWS_UNSUPPORTED, "the pod runs on Windows; the model will not be downloaded")
    wishes = read_wishes(pod)
    targets = choose(pod, wishes, settings)
    check_place(targets, settings)
    store = store_of(pod, settings)
    injection = Injection(
        pod=pod,
        targets=targets,
        wishes=wishes,
        settings=settings,
        project_id=project_of_token(pod, settings),
        store_size=store.size,
    )
    check_names(pod)
    check_token(injection)
    placement = place(pod, needs_network=settings.delivery == "fetch", first_target=targets.first_init_container)
    changes = tuple(operations(injection, placement, Outcome.INJECTED.value))
    return Decision(
        reason=Reason.INJECTED if changes else Reason.ALREADY_INJECTED,
        operations=changes,
        warnings=(
            *targets.warnings,
            *mesh_warnings(placement),
            *storage_warnings(store, settings),
            *dns_warnings(pod, settings),
        ),
        model=targets.demand.model,
    )


def check_place(targets: Targets, settings: Settings) -> None:
    """B17: a folder of the shared claim is mounted by its name, so the name must be known."""
    if settings.delivery == "volume" and not targets.demand.place:
        raise RefusalError(
            Reason.DEFERRED_WITH_VOLUME,
            f"models are mounted from a shared volume: give {MODEL_OWNER} and {RUN_ID} of container"
            f" {targets.containers[0].title} by value",
        )


def project_of_token(pod: Pod, settings: Settings) -> str | None:
    """B13: the project whose pull token fetches the model; None where no token is needed. The platform sets the label,
    not the user.
    """
    if settings.token == "none" or settings.delivery == "volume":
        return None
    project_id = text(pod.labels, PROJECT_ID_LABEL)
    if not settings.project_id_pattern.fullmatch(project_id):
        fault = f"is {shown(project_id)}, which is no project id" if project_id else "is missing"
        raise RefusalError(
            Reason.MISSING_PROJECT_ID, f"label {PROJECT_ID_LABEL} {fault}: it chooses the token that fetches the model"
        )
    return project_id


def mesh_warnings(placement: Placement) -> tuple[str, ...]:
    """B33 and B34: what a service mesh does to the fetch."""
    if placement.captured:
        return (
            remark(
                Reason.BEHIND_MESH_INIT,
                f"{INIT_CONTAINER} stands behind the mesh's init container: it may have no network",
            ),
        )
    if placement.run_as_user:
        bypass = f"the model download bypasses the mesh: {INIT_CONTAINER} runs as uid {placement.run_as_user}"
        return (remark(Reason.MESH_BYPASSED, bypass),)
    return ()
