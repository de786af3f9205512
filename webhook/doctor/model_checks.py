"""Checks of what model APIs need: namespaces, tokens, claims, a test pod; and of pods that wait for their model."""

from collections.abc import Iterator
from typing import Any, Final

from lightkube.core.exceptions import ApiError

from model_contract import names
from webhook.doctor.cluster_reader import CLAIMS, SECRETS, STORAGE_CLASSES
from webhook.doctor.findings import Finding, bad, good, odd
from webhook.doctor.installation import Installation, Json, labels_of
from webhook.settings import Settings

NO_IMAGE: Final = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
DEFAULT_CLASS: Final = "storageclass.kubernetes.io/is-default-class"
AUDIT_CLAIM: Final = "model-api-gate-audit"  # manifests/components/gate/audit-claim.yaml
PROBE: Final = {
    names.MODEL_NAME: "doctor",
    names.MODEL_OWNER: "doctor",
    names.MODEL_VERSION: "1",
    names.RUN_ID: "0" * 32,
}
PROBE_PROJECT: Final = "0" * 24


def namespaces(installation: Installation) -> Iterator[Finding]:
    unlabelled = sorted(
        {pod["metadata"]["namespace"] for pod in installation.model_pods}
        - {*installation.enabled, installation.namespace}
    )
    for namespace in unlabelled:
        label = f"kubectl label namespace {namespace} {names.ENABLED_LABEL}=true"
        yield odd("namespaces", f"{namespace} has pods of model APIs and is not enabled", label)
    if installation.enabled:
        yield good("namespaces", f"enabled: {', '.join(installation.enabled)}")
    elif not unlabelled:
        yield bad(
            "namespaces", "no namespace is enabled", f"kubectl label namespace <namespace> {names.ENABLED_LABEL}=true"
        )


def admission(installation: Installation) -> Iterator[Finding]:
    """Check registration, network, TLS, webhook and policy together, by a dry run of a pod in each namespace."""
    for namespace in installation.enabled:
        check = f"admission in {namespace}"
        try:
            pod = installation.cluster.dry_run(_probe(namespace, installation.settings))
        except ApiError as error:
            yield bad(check, str(error), "the rows above say why the webhook is not reached; if none does, see its log")
            continue
        init = [container["name"] for container in pod["spec"].get("initContainers", [])]
        images = [volume["name"] for volume in pod["spec"].get("volumes", []) if "image" in volume]
        if names.INIT_CONTAINER in init:
            yield good(check, "a model API gets its init container")
        elif names.MODEL_VOLUME in images:
            yield good(check, "a model API mounts the image of its model")
        else:
            yield bad(
                check,
                "a model API starts without its model",
                "the API server does not reach the webhook: network policies, port 9443",
            )


def secrets(installation: Installation) -> Iterator[Finding]:
    """Check that each project with pods has its pull token; in a namespace without pods, that it has any token."""
    if not installation.settings or installation.settings.token != "pull" or installation.settings.delivery != "fetch":
        return
    with_pods = {pod["metadata"]["namespace"] for pod in installation.model_pods}
    for namespace in sorted(set(installation.enabled) - with_pods):
        found = installation.cluster.list(SECRETS, namespace)
        if not any(secret["metadata"]["name"].startswith(names.pull_secret("")) for secret in found):
            yield odd(
                "pull token",
                f"{namespace} has no Secret {names.pull_secret('<project id>')}: its first model API would wait for it",
                "model-api token create, then model-api token sync",
            )
    wanted = {
        (pod["metadata"]["namespace"], labels_of(pod).get(names.PROJECT_ID_LABEL, ""))
        for pod in installation.model_pods
    }
    for namespace, project in sorted(place for place in wanted if place[1] and place[0] in installation.enabled):
        name = names.pull_secret(project)
        secret = installation.cluster.get(SECRETS, name, namespace)
        if secret is None:
            yield bad(
                "pull token",
                f"Secret {namespace}/{name} is missing",
                f"create it with the project's pull token in key {names.TOKEN_KEY}",
            )
        elif names.TOKEN_KEY not in secret.get("data", {}):
            yield bad(
                "pull token",
                f"Secret {namespace}/{name} has no key {names.TOKEN_KEY}",
                "put the project's pull token there",
            )
        else:
            yield good("pull token", f"{namespace}/{name}")


def image_secrets(installation: Installation) -> Iterator[Finding]:
    """Check that the Secrets for the init container's image are in each namespace of the pods."""
    for namespace in installation.enabled if installation.settings else ():
        for name in installation.settings.image_pull_secrets if installation.settings else ():
            if installation.cluster.get(SECRETS, name, namespace) is None:
                yield bad(
                    "image secret",
                    f"Secret {namespace}/{name} is missing",
                    "create it there: it pulls the image of the init container",
                )
            else:
                yield good("image secret", f"{namespace}/{name}")


def claims(installation: Installation) -> Iterator[Finding]:
    """Check each namespace's shared claim, the claim of the gate's audit log, and the StorageClass for new claims."""
    if not installation.settings:
        return
    if shared := installation.settings.claim:
        for namespace in installation.enabled:
            claim = installation.cluster.get(CLAIMS, shared, namespace)
            if claim is None:
                yield bad("claim", f"{namespace}/{shared} is missing", "create it, with the models in it")
            else:
                yield _claim_finding(installation, claim)
    if audit := installation.cluster.get(CLAIMS, AUDIT_CLAIM, names.MLFLOW_NAMESPACE):
        yield _claim_finding(installation, audit)
    if (
        installation.settings.store == "ephemeral-claim"
        and not installation.settings.store_class
        and not _has_default_class(installation)
    ):
        yield bad(
            "claim",
            "a pod's claim for its model names no StorageClass, and the cluster has no default",
            "set MODEL_API_WEBHOOK_STORE_CLASS",
        )


def _claim_finding(installation: Installation, claim: Json) -> Finding:
    name = f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
    phase = claim.get("status", {}).get("phase", "Pending")
    if phase == "Bound":
        return good("claim", f"{name} is bound")
    wanted = claim.get("spec", {}).get("storageClassName")
    if wanted is None and not _has_default_class(installation):
        return bad(
            "claim",
            f"{name} is {phase}: it names no StorageClass, and the cluster has no default",
            "name one, or a volume",
        )
    if wanted and installation.cluster.get(STORAGE_CLASSES, wanted) is None:
        return bad(
            "claim",
            f"{name} is {phase}: there is no StorageClass {wanted}",
            "name one that is there (kubectl get storageclass)",
        )
    look = f"kubectl -n {claim['metadata']['namespace']} describe pvc {claim['metadata']['name']}"
    return bad("claim", f"{name} is {phase}", look)


def _has_default_class(installation: Installation) -> bool:
    found = installation.cluster.list(STORAGE_CLASSES)
    return any((one["metadata"].get("annotations") or {}).get(DEFAULT_CLASS) == "true" for one in found)


def waiting_pods(installation: Installation) -> Iterator[Finding]:
    """Check for model APIs whose init container failed, and give the reason."""
    for pod in installation.model_pods:
        for status in pod.get("status", {}).get("initContainerStatuses", []):
            if status["name"] == names.INIT_CONTAINER and (reason := _failure(status)):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                yield bad("model pods", f"{name}: {reason}", "docs/how-to/operate-webhook.md has each of these")


def _failure(status: Json) -> str | None:
    waiting = status.get("state", {}).get("waiting", {})
    if waiting.get("reason") in NO_IMAGE:
        return f"the image {status['image']} cannot be pulled"
    ended = status.get("lastState", {}).get("terminated") or status.get("state", {}).get("terminated") or {}
    if status.get("ready") or not ended.get("exitCode"):
        return None
    return f"exit code {ended['exitCode']}: {ended.get('message', '').strip()}"


def _probe(namespace: str, settings: Settings | None) -> dict[str, Any]:
    container = {
        "name": "model",
        "image": "none",
        "env": [{"name": name, "value": value} for name, value in PROBE.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
    }
    labels = {names.WORKLOAD_TYPE_LABEL: names.MODEL_API_WORKLOAD, names.PROJECT_ID_LABEL: PROBE_PROJECT}
    user = {"runAsNonRoot": True, "runAsUser": 12574, "fsGroup": 12574, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"securityContext": user, "containers": [container], "automountServiceAccountToken": False}
    metadata = {"generateName": "model-api-doctor-", "namespace": namespace, "labels": labels}
    if settings and settings.delivery == "image" and settings.model_image:
        image = settings.model_image.repository(PROBE_PROJECT).pinned(f"sha256:{'0' * 64}")
        metadata |= {"annotations": {names.IMAGE_ANNOTATION: str(image)}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
