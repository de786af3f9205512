"""Fields of the manifests that values of the chart set: namespaces, images, pods, and what an overlay patches."""

import re
from collections.abc import Callable
from typing import Any, Final

from helm_chart.choices import (
    ABSENT,
    Block,
    Choice,
    Entries,
    Raw,
    chosen,
    expression,
    replaced,
    with_texts,
)

Json = Any
IMAGE: Final = re.compile(r"model-api-(webhook|delivery|gate|runtime)(?::[^-]+(-.+)?)?")
# The template of the pods of an object, and the value with what the admin sets for them.
PODS: Final = {
    ("Deployment", "model-api-webhook"): ("spec.template", "webhook"),
    ("Deployment", "model-api-gate"): ("spec.template", "gate"),
    ("CronJob", "model-api-sync"): ("spec.jobTemplate.spec.template", "sharedVolume"),
}
# Jobs are left out: one cannot be changed, and one that removes itself looks deleted to Argo CD. The CronJob does the
# same within ten minutes.
LEFT_OUT: Final = {("Job", "model-api-fill")}
POD_FIELDS: Final = ("nodeSelector", "tolerations", "affinity")


def with_values(found: Json, part: str) -> Json:
    """Return the object with expressions for namespaces, images and names of ConfigMaps; `part` is its source's."""
    platform = ".Values.namespaces.domino" if part.startswith("gate") else ".Release.Namespace"
    places = {
        "domino-platform": platform,
        "domino-compute": ".Values.namespaces.models",
        "mlflow-efs": ".Values.namespaces.mlflow",
    }
    whole = {
        "monitoring": ".Values.namespaces.monitoring",
        "model-api-webhook-settings": 'include "mlflow-model-api.settings-name" (list . "webhook")',
        "model-api-gate-settings": 'include "mlflow-model-api.settings-name" (list . "gate")',
    }

    def change(text: str) -> str:
        if text in whole:
            return expression(whole[text])
        for place, value in places.items():
            text = text.replace(place, expression(value))
        return text

    return with_texts(with_images(found), change)


def with_images(found: Json) -> Json:
    """Return the object with an expression for each image of this project."""
    if isinstance(found, list):
        return [with_images(item) for item in found]
    if not isinstance(found, dict):
        return found
    changed = {key: with_images(value) for key, value in found.items()}
    for key in changed.keys() & {"image", "MODEL_API_WEBHOOK_DELIVERY_IMAGE"}:
        if isinstance(changed[key], str) and (match := IMAGE.fullmatch(changed[key])):
            changed[key] = image(match[1], match[2] or "")
    return changed


def image(name: str, suffix: str = "") -> str:
    return expression(f'include "mlflow-model-api.image" (list . "{name}" "{suffix}")')


def with_overrides(found: Json, name: tuple[str, str]) -> Json:
    """Return the object of this kind and name with the fields that values set. Raises ValueError for a missing one."""
    metadata = found["metadata"]
    labels = metadata.get("labels")
    own = {"labels": labels | COMMON} if labels else {"labels": _labels_of_values()}
    found = found | {"metadata": metadata | own}
    if name in PODS:
        found = _pod_overrides(found, *PODS[name])
    for path, change in OVERRIDES.get(name, {}).items():
        found = replaced(found, path, change)
    return found


COMMON: Final = {Entries(".Values.commonLabels"): None}


def _labels_of_values() -> Choice:
    return set_by(".Values.commonLabels")(ABSENT)


def _pod_overrides(found: Json, path: str, part: str) -> Json:
    values = f".Values.{part}"
    found = replaced(found, f"{path}.metadata.labels", lambda labels: labels | {Entries(f"{values}.podLabels"): None})
    found = replaced(found, f"{path}.metadata.annotations", set_by(f"{values}.podAnnotations"))
    found = replaced(found, f"{path}.spec.containers.0.resources", lambda _: Block(f"toYaml {values}.resources"))
    for name in POD_FIELDS:
        found = replaced(found, f"{path}.spec.{name}", set_by(f"{values}.{name}"))
    secrets = Block('include "mlflow-model-api.pull-secrets" .')
    condition = ".Values.images.pullSecrets"
    found = replaced(found, f"{path}.spec.imagePullSecrets", lambda old: chosen(old, secrets, condition))
    priority = f"{values}.priorityClassName"
    return replaced(found, f"{path}.spec.priorityClassName", lambda old: chosen(old, expression(priority), priority))


def set_by(value: str) -> Callable[[Json], Choice]:
    """Return the change by which a value that is not empty replaces a mapping or a list."""
    return lambda old: chosen(old, Block(f"toYaml {value}"), value)


def text_set_by(value: str) -> Callable[[Json], Choice]:
    return lambda old: chosen(old, expression(value), value)


def _rules_of_stores(rules: Json) -> Json:
    """Return the rules of the policy with those of the value in the place of the first one."""
    first, *others = rules
    return [set_by(".Values.objectStores.egress")(first), *others]


def _tokens(sources: Json) -> Json:
    return chosen(sources, Block('include "mlflow-model-api.sync-tokens" .'), ".Values.sharedVolume.projects")


AUDIT_CLAIM: Final[dict[str, Callable[[Json], Json]]] = {
    "spec.resources.requests.storage": lambda _: expression(".Values.gate.auditStorage"),
    "spec.storageClassName": text_set_by(".Values.gate.auditStorageClass"),
}
OVERRIDES: Final[dict[tuple[str, str], dict[str, Callable[[Json], Json]]]] = {
    ("Deployment", "model-api-webhook"): {
        "spec.replicas": lambda old: chosen(old, Raw(".Values.webhook.replicas"), ".Values.webhook.replicas")
    },
    ("Deployment", "model-api-gate"): {
        "spec.template.spec.volumes.tokens.secret.secretName": lambda _: expression(".Values.gate.tokensSecret")
    },
    ("PersistentVolumeClaim", "model-api-gate-audit"): AUDIT_CLAIM,
    ("PersistentVolumeClaim", "model-api-gate-audit-replicas"): AUDIT_CLAIM,
    ("NetworkPolicy", "model-api-gate"): {
        "spec.egress.0.to.0.podSelector.matchLabels": set_by(".Values.gate.mlflowPodLabels")
    },
    ("NetworkPolicy", "mlflow-from-gate-only"): {
        "spec.podSelector.matchLabels": set_by(".Values.gate.mlflowPodLabels")
    },
    ("NetworkPolicy", "model-api-to-object-stores"): {"spec.egress": _rules_of_stores},
    ("ConfigMap", "model-api-sync-settings"): {
        "data.MLFLOW_TRACKING_URI": text_set_by(".Values.sharedVolume.trackingUri")
    },
    ("CronJob", "model-api-sync"): {"spec.jobTemplate.spec.template.spec.volumes.tokens.projected.sources": _tokens},
}
