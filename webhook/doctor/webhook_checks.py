"""Checks of the webhook: its settings and pods, the API server's connection to it and trust in it, and its policy."""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509

from model_contract import names
from model_contract.settings import SettingError
from webhook.certificates.cluster import certificates
from webhook.certificates.issuance import is_issued_by
from webhook.doctor.cluster_reader import BINDINGS, ENDPOINTS, POLICIES, SECRETS
from webhook.doctor.findings import Finding, bad, good, odd
from webhook.doctor.installation import Installation, Json
from webhook.registration import mutating_webhook, policy
from webhook.settings import PREFIX, Settings

SKEW: Final = timedelta(minutes=5)  # certificates are valid from ten minutes before they are issued
RENEWAL_OVERDUE: Final = timedelta(days=14)
COMPARED: Final = (
    "namespaceSelector",
    "objectSelector",
    "matchConditions",
    "rules",
    "reinvocationPolicy",
    "admissionReviewVersions",
)
APPLY: Final = "apply the manifests again"


def clock(installation: Installation) -> Iterator[Finding]:
    there = datetime.fromisoformat(installation.cluster.review_of_self()["metadata"]["creationTimestamp"])
    skew = abs(datetime.now(UTC) - there)
    if skew > SKEW:
        yield odd(
            "clock",
            f"the clocks of this machine and the API server differ by {skew.seconds} s",
            "set the clocks: certificates depend on them",
        )
    else:
        yield good("clock", "it agrees with that of the API server")


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
        yield odd(check, "one pod is ready", "run two: an update of its node would stop the webhook")
    else:
        yield good(check, f"{ready} of {wanted} pods are ready")


def service(installation: Installation) -> Iterator[Finding]:
    slices = installation.cluster.list(
        ENDPOINTS, installation.namespace, {"kubernetes.io/service-name": names.WEBHOOK_SERVICE}
    )
    endpoints = [endpoint for found in slices for endpoint in found.get("endpoints") or []]
    ready = [endpoint for endpoint in endpoints if endpoint.get("conditions", {}).get("ready")]
    if ready:
        yield good("service", f"{len(ready)} addresses")
    else:
        yield bad(
            "service",
            f"Service {names.WEBHOOK_SERVICE} has no ready address",
            "make a pod of the webhook ready, or correct the selector of the Service",
        )


def settings(installation: Installation) -> Iterator[Finding]:
    try:
        found = Settings.from_mapping(installation.variables)
    except SettingError as error:
        yield bad("settings", str(error), "correct the ConfigMap and roll out the webhook")
        return
    if found.namespace != installation.namespace:
        yield bad(
            "settings",
            f"{PREFIX}NAMESPACE is {found.namespace}",
            f"set it to {installation.namespace}, the namespace of the webhook",
        )
    elif overridden := installation.overridden:
        yield odd(
            "settings",
            f"the Deployment overrides its ConfigMap in {', '.join(overridden)}: what is applied there has no effect",
            f"kubectl -n {installation.namespace} set env deployment/{names.WEBHOOK_IMAGE}"
            f" {' '.join(f'{name}-' for name in overridden)}",
        )
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
    """Check that the API server trusts the authority of the certificate in the Secret."""
    check = "certificate"
    entries = (installation.registration or {}).get("webhooks", [])
    bundles = [certificates(base64.b64decode(entry["clientConfig"].get("caBundle", ""))) for entry in entries]
    secret = installation.cluster.get(SECRETS, names.TLS_SECRET, installation.namespace)
    leaf = _leaf(secret)
    if not bundles or not all(bundles):
        yield bad(
            check,
            "the registration has no caBundle: the API server trusts no certificate",
            "see the webhook's log, or cert-manager's",
        )
    elif leaf is None:
        yield bad(
            check,
            f"Secret {installation.namespace}/{names.TLS_SECRET} holds no certificate",
            "see the webhook's log, or cert-manager's",
        )
    elif not all(any(is_issued_by(leaf, authority) for authority in bundle) for bundle in bundles):
        yield bad(
            check,
            "the API server does not trust the authority of the webhook's certificate",
            "model-api-webhook certs rotate",
        )
    elif (left := leaf.not_valid_after_utc - datetime.now(UTC)) < RENEWAL_OVERDUE:
        yield bad(
            check,
            f"it ends in {max(0, left.days)} days",
            "see the log of the webhook or of cert-manager for why it is not renewed",
        )
    else:
        yield good(check, f"trusted, valid for {left.days} days")


def policy_bound(installation: Installation) -> Iterator[Finding]:
    check = "policy"
    found, binding = installation.cluster.get(POLICIES, names.POLICY), installation.cluster.get(BINDINGS, names.POLICY)
    expected = policy(installation.namespace)[0]["spec"]
    if not found or not binding:
        yield odd(
            check,
            "there is no policy: without the webhook, pods start without their model",
            "apply the component policy",
        )
    elif warnings := found.get("status", {}).get("typeChecking", {}).get("expressionWarnings"):
        yield bad(check, f"the API server finds faults in it: {warnings[0]['warning']}", APPLY)
    elif "Deny" not in binding["spec"].get("validationActions", []):
        yield odd(
            check,
            f"its actions are {', '.join(binding['spec'].get('validationActions', []))}: it denies nothing",
            "bind it with Deny",
        )
    elif any(found["spec"].get(field) != expected[field] for field in ("matchConditions", "variables")):
        yield odd(check, "it differs from this version's manifests", APPLY)
    else:
        yield good(check, "a pod that should have its model and has not is denied")


def _leaf(secret: Json | None) -> x509.Certificate | None:
    pem = base64.b64decode((secret or {}).get("data", {}).get("tls.crt", ""))
    return next(iter(certificates(pem)), None)
