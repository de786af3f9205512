"""Checks of what model APIs need: their namespaces, a pod that is admitted, tokens, claims; and those that wait for their model."""

from collections.abc import Iterator
from typing import Any, Final

from lightkube.core.exceptions import ApiError

from model_contract import names
from webhook.doctor.findings import Finding, bad, good, odd
from webhook.doctor.installation import Installation, Json, labels_of
from webhook.doctor.view import CLAIMS, SECRETS

NO_IMAGE: Final = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
PROBE: Final = {names.MODEL_NAME: "doctor", names.MODEL_OWNER: "doctor", names.MODEL_VERSION: "1", names.RUN_ID: "0" * 32}


def namespaces(installation: Installation) -> Iterator[Finding]:
    unlabelled = sorted({pod["metadata"]["namespace"] for pod in installation.model_pods} - {*installation.enabled, installation.namespace})
    for namespace in unlabelled:
        label = f"kubectl label namespace {namespace} {names.ENABLED_LABEL}=true"
        yield odd("namespaces", f"{namespace} has pods of model APIs and is not enabled", label)
    if installation.enabled:
        yield good("namespaces", f"enabled: {', '.join(installation.enabled)}")
    elif not unlabelled:
        yield bad("namespaces", "no namespace is enabled", f"kubectl label namespace <namespace> {names.ENABLED_LABEL}=true")


def admission(installation: Installation) -> Iterator[Finding]:
    """The whole way, by a pod that is not kept: registration, network, TLS, the webhook itself, the policy."""
    for namespace in installation.enabled:
        check = f"admission in {namespace}"
        try:
            pod = installation.view.dry_run(_probe(namespace))
        except ApiError as error:
            yield bad(check, str(error), "the rows above say why the webhook is not reached; if none does, see its log")
            continue
        init = [container["name"] for container in pod["spec"].get("initContainers", [])]
        if names.INIT_CONTAINER in init:
            yield good(check, "a model API gets its init container")
        else:
            yield bad(
                check, "a model API starts without its model", "the API server does not reach the webhook: network policies, port 9443"
            )


def secrets(installation: Installation) -> Iterator[Finding]:
    """The pull token of each project that has pods; only its presence is looked at."""
    if not installation.settings or installation.settings.token == "none" or installation.settings.delivery == "volume":
        return
    wanted = {(pod["metadata"]["namespace"], labels_of(pod).get(names.PROJECT_ID_LABEL, "")) for pod in installation.model_pods}
    for namespace, project in sorted(place for place in wanted if place[1] and place[0] in installation.enabled):
        name = names.pull_secret(project)
        secret = installation.view.get(SECRETS, name, namespace)
        if secret is None:
            yield bad(
                "pull token", f"Secret {namespace}/{name} is missing", f"create it with the project's pull token in key {names.TOKEN_KEY}"
            )
        elif names.TOKEN_KEY not in secret.get("data", {}):
            yield bad("pull token", f"Secret {namespace}/{name} has no key {names.TOKEN_KEY}", "put the project's pull token there")
        else:
            yield good("pull token", f"{namespace}/{name}")


def claims(installation: Installation) -> Iterator[Finding]:
    if not installation.settings or not installation.settings.claim:
        return
    for namespace in installation.enabled:
        claim = installation.view.get(CLAIMS, installation.settings.claim, namespace)
        phase = claim.get("status", {}).get("phase") if claim else "missing"
        if phase == "Bound":
            yield good("claim", f"{namespace}/{installation.settings.claim} is bound")
        else:
            yield bad("claim", f"{namespace}/{installation.settings.claim} is {phase}", "create it, with the models in it")


def waiting_pods(installation: Installation) -> Iterator[Finding]:
    """Model APIs whose init container has not ended well: their reason, once each."""
    for pod in installation.model_pods:
        for status in pod.get("status", {}).get("initContainerStatuses", []):
            if status["name"] == names.INIT_CONTAINER and (reason := _trouble(status)):
                name = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
                yield bad("model pods", f"{name}: {reason}", "docs/operations.md has each of these")


def _trouble(status: Json) -> str | None:
    waiting = status.get("state", {}).get("waiting", {})
    if waiting.get("reason") in NO_IMAGE:
        return f"the image {status['image']} cannot be pulled"
    ended = status.get("lastState", {}).get("terminated") or status.get("state", {}).get("terminated") or {}
    if status.get("ready") or not ended.get("exitCode"):
        return None
    return f"exit code {ended['exitCode']}: {ended.get('message', '').strip()}"


def _probe(namespace: str) -> dict[str, Any]:
    container = {
        "name": "model",
        "image": "none",
        "env": [{"name": name, "value": value} for name, value in PROBE.items()],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "1", "memory": "512Mi"}},
    }
    labels = {names.WORKLOAD_TYPE_LABEL: names.MODEL_API_WORKLOAD, names.PROJECT_ID_LABEL: "0" * 24}
    user = {"runAsNonRoot": True, "runAsUser": 12574, "fsGroup": 12574, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {"securityContext": user, "containers": [container], "automountServiceAccountToken": False}
    metadata = {"generateName": "model-api-doctor-", "namespace": namespace, "labels": labels}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
