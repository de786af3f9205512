"""The checks, in the order in which an installation depends on them. Each looks at one thing and says what to do about it."""

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any, Final

from cryptography import x509
from lightkube.core.exceptions import ApiError

from model_contract import names
from webhook.certificates.cluster import certificates
from webhook.certificates.issuance import is_issued_by
from webhook.doctor.findings import Finding, Health, bad, good, odd
from webhook.doctor.view import (
    BINDINGS,
    CLAIMS,
    CONFIG_MAPS,
    DEPLOYMENTS,
    ENDPOINTS,
    NAMESPACES,
    PODS,
    POLICIES,
    REGISTRATIONS,
    SECRETS,
    View,
)
from webhook.registration import mutating_webhook, policy
from webhook.settings import PREFIX, Settings, SettingsError

Json = Mapping[str, Any]

SKEW: Final = timedelta(minutes=5)  # certificates are valid from ten minutes before they are issued
SOON: Final = timedelta(days=14)
COMPARED: Final = ("namespaceSelector", "objectSelector", "matchConditions", "rules", "reinvocationPolicy", "admissionReviewVersions")
NO_IMAGE: Final = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
APPLY: Final = "apply the manifests again"


@dataclass(frozen=True)
class Installation:
    """What the checks look at; each part is read once, when the first check asks."""

    view: View
    namespace: str

    @cached_property
    def registration(self) -> Json | None:
        return self.view.get(REGISTRATIONS, names.REGISTRATION)

    @cached_property
    def deployment(self) -> Json | None:
        return self.view.get(DEPLOYMENTS, names.WEBHOOK_IMAGE, self.namespace)

    @cached_property
    def variables(self) -> dict[str, str]:
        """What the webhook's container reads, from its ConfigMap and its own entries."""
        containers = (self.deployment or {}).get("spec", {}).get("template", {}).get("spec", {}).get("containers", [{}])
        values: dict[str, str] = {}
        for source in containers[0].get("envFrom", []):
            name = source.get("configMapRef", {}).get("name")
            values |= (self.view.get(CONFIG_MAPS, name, self.namespace) or {}).get("data", {}) if name else {}
        return values | {entry["name"]: entry.get("value", "") for entry in containers[0].get("env", [])}

    @cached_property
    def settings(self) -> Settings | None:
        try:
            return Settings.from_mapping(self.variables)
        except SettingsError:
            return None

    @cached_property
    def enabled(self) -> list[str]:
        """The namespaces of model APIs."""
        return [found["metadata"]["name"] for found in self.view.list(NAMESPACES) if _labels(found).get(names.ENABLED_LABEL) == "true"]

    @cached_property
    def model_pods(self) -> list[Json]:
        return list(self.view.list(PODS, labels={names.WORKLOAD_TYPE_LABEL: names.MODEL_API_WORKLOAD}))


def examine(installation: Installation) -> Iterator[Finding]:
    """Every finding. What the caller may not read is `unknown`, and the next check goes on."""
    for title, check in CHECKS.items():
        try:
            yield from check(installation)
        except ApiError as error:
            yield Finding(check=title, health=Health.UNKNOWN, found=str(error), remedy="run it with the rights of an admin")


def clock(installation: Installation) -> Iterator[Finding]:
    there = datetime.fromisoformat(installation.view.review_of_self()["metadata"]["creationTimestamp"])
    skew = abs(datetime.now(UTC) - there)
    if skew > SKEW:
        yield odd("clock", f"this machine and the API server differ by {skew.seconds} s", "set the clocks: certificates depend on them")
    else:
        yield good("clock", "that of the API server is right")


def webhook_pods(installation: Installation) -> Iterator[Finding]:
    check, deployment = "webhook", installation.deployment
    if not deployment:
        yield bad(check, f"there is no Deployment {installation.namespace}/{names.WEBHOOK_IMAGE}", APPLY)
        return
    wanted, ready = deployment["spec"].get("replicas", 1), deployment.get("status", {}).get("readyReplicas", 0)
    look = f"kubectl -n {installation.namespace} describe pod -l app.kubernetes.io/name={names.WEBHOOK_IMAGE}"
    if not ready:
        yield bad(check, f"none of {wanted} pods is ready", look)
    elif ready < wanted:
        yield odd(check, f"{ready} of {wanted} pods are ready", look)
    elif wanted == 1:
        yield odd(check, "one pod is ready", "run two: an update of one node would take the webhook away")
    else:
        yield good(check, f"{ready} of {wanted} pods are ready")


def service(installation: Installation) -> Iterator[Finding]:
    slices = installation.view.list(ENDPOINTS, installation.namespace, {"kubernetes.io/service-name": names.WEBHOOK_SERVICE})
    endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or []]
    ready = [endpoint for endpoint in endpoints if endpoint.get("conditions", {}).get("ready")]
    if ready:
        yield good("service", f"{len(ready)} addresses")
    else:
        yield bad(
            "service", f"Service {names.WEBHOOK_SERVICE} has no ready address", "make a pod of the webhook ready; its selector must fit"
        )


def settings(installation: Installation) -> Iterator[Finding]:
    try:
        found = Settings.from_mapping(installation.variables)
    except SettingsError as error:
        yield bad("settings", str(error), "correct the ConfigMap and roll out the webhook")
        return
    if found.namespace != installation.namespace:
        yield bad("settings", f"{PREFIX}NAMESPACE is {found.namespace}", f"set it to {installation.namespace}, where the webhook is")
    elif found.delivery_image.endswith(":latest"):
        yield odd("settings", f"the init container's image is {found.delivery_image}", "name a version, or a digest")
    else:
        yield good("settings", f"{found.delivery} from {found.tracking_uri}, with {found.delivery_image}")


def registration(installation: Installation) -> Iterator[Finding]:
    check, found = "registration", installation.registration
    if not found:
        yield bad(check, f"there is no MutatingWebhookConfiguration {names.REGISTRATION}", APPLY)
        return
    expected = mutating_webhook(installation.namespace)["webhooks"][0]
    entry = next((webhook for webhook in found.get("webhooks", []) if webhook["name"] == expected["name"]), None)
    if not entry:
        yield bad(check, f"it has no webhook {expected['name']}", APPLY)
        return
    target = entry["clientConfig"].get("service", {})
    if (target.get("namespace"), target.get("name")) != (installation.namespace, names.WEBHOOK_SERVICE):
        yield bad(
            check,
            f"it calls {target.get('namespace')}/{target.get('name')}",
            f"let it call {installation.namespace}/{names.WEBHOOK_SERVICE}",
        )
    elif changed := [field for field in COMPARED if entry.get(field) != expected[field]]:
        yield odd(check, f"it differs from this version's manifests in {', '.join(changed)}", APPLY)
    else:
        yield good(check, f"failurePolicy {entry['failurePolicy']}, {entry['timeoutSeconds']} s")


def trust(installation: Installation) -> Iterator[Finding]:
    """Whether the authority that the API server has is that of the certificate in the Secret."""
    check = "certificate"
    entries = (installation.registration or {}).get("webhooks", [])
    bundles = [certificates(base64.b64decode(entry["clientConfig"].get("caBundle", ""))) for entry in entries]
    secret = installation.view.get(SECRETS, names.TLS_SECRET, installation.namespace)
    leaf = _leaf(secret)
    if not bundles or not all(bundles):
        yield bad(check, "the registration has no caBundle: the API server trusts nobody", "see the webhook's log, or cert-manager's")
    elif leaf is None:
        yield bad(
            check, f"Secret {installation.namespace}/{names.TLS_SECRET} holds no certificate", "see the webhook's log, or cert-manager's"
        )
    elif not all(any(is_issued_by(leaf, authority) for authority in bundle) for bundle in bundles):
        yield bad(
            check, "the API server does not trust the authority of the webhook's certificate", "model-api-webhook certs rotate --leaf"
        )
    elif (left := leaf.not_valid_after_utc - datetime.now(UTC)) < SOON:
        yield bad(check, f"it ends in {max(0, left.days)} days", "see the webhook's log, or cert-manager's, for why nobody renews it")
    else:
        yield good(check, f"trusted, valid for {left.days} days")


def policy_bound(installation: Installation) -> Iterator[Finding]:
    check = "policy"
    found, binding = installation.view.get(POLICIES, names.POLICY), installation.view.get(BINDINGS, names.POLICY)
    expected = policy(installation.namespace)[0]["spec"]
    if not found or not binding:
        yield odd(check, "there is no policy: without the webhook, pods start without their model", "apply the component policy")
    elif warnings := found.get("status", {}).get("typeChecking", {}).get("expressionWarnings"):
        yield bad(check, f"the API server finds faults in it: {warnings[0]['warning']}", APPLY)
    elif "Deny" not in binding["spec"].get("validationActions", []):
        yield odd(check, f"it only does {', '.join(binding['spec'].get('validationActions', []))}", "bind it with Deny")
    elif any(found["spec"].get(field) != expected[field] for field in ("matchConditions", "variables")):
        yield odd(check, "it differs from this version's manifests", APPLY)
    else:
        yield good(check, "a pod that should have its model and has not is denied")


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
    wanted = {(pod["metadata"]["namespace"], _labels(pod).get(names.PROJECT_ID_LABEL, "")) for pod in installation.model_pods}
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


PROBE: Final = {names.MODEL_NAME: "doctor", names.MODEL_OWNER: "doctor", names.MODEL_VERSION: "1", names.RUN_ID: "0" * 32}


def _leaf(secret: Json | None) -> x509.Certificate | None:
    pem = base64.b64decode((secret or {}).get("data", {}).get("tls.crt", ""))
    return next(iter(certificates(pem)), None)


def _labels(found: Json) -> Json:
    labels: Json = found["metadata"].get("labels", {})
    return labels


def worst(findings: Sequence[Finding]) -> Health:
    order = (Health.BAD, Health.UNKNOWN, Health.ODD, Health.GOOD)
    return next(health for health in order if health is Health.GOOD or any(finding.health is health for finding in findings))


CHECKS: Final[dict[str, Callable[[Installation], Iterator[Finding]]]] = {
    "clock": clock,
    "settings": settings,
    "webhook": webhook_pods,
    "service": service,
    "registration": registration,
    "certificate": trust,
    "policy": policy_bound,
    "namespaces": namespaces,
    "pull token": secrets,
    "claim": claims,
    "admission": admission,
    "model pods": waiting_pods,
}
