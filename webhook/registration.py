"""The webhook's registration and its policy, which repeat the rules of `selection` for the API server.

`make render` writes them into `manifests/`. This module makes data; it never calls the API server.
"""

from collections.abc import Iterable
from typing import Any, Final

from model_contract import names
from model_contract.layout import ARTIFACTS_ROOT
from webhook.selection import CONTAINERS_IN_CEL, VARIABLES_IN_CEL, Part, Rule, rules

LABELS: Final = {"app.kubernetes.io/name": names.WEBHOOK_IMAGE, "app.kubernetes.io/part-of": "mlflow-model-api"}
TIMEOUT: Final = 5  # seconds; a decision takes one thousandth of it


def mutating_webhook(namespace: str) -> dict[str, Any]:
    """Return the MutatingWebhookConfiguration, without `caBundle`: the certificate's controller writes it."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": names.REGISTRATION, "labels": LABELS},
        "webhooks": [
            {
                "name": f"pods.{names.DOMAIN}",
                "clientConfig": {
                    "service": {"namespace": namespace, "name": names.WEBHOOK_SERVICE, "path": "/mutate", "port": 443}
                },
                "rules": [_pods()],
                "matchPolicy": "Equivalent",
                **_selectors(namespace),
                "matchConditions": _conditions(namespace),
                "failurePolicy": "Ignore",
                "reinvocationPolicy": "IfNeeded",
                "sideEffects": "None",
                "timeoutSeconds": TIMEOUT,
                "admissionReviewVersions": ["v1"],
            }
        ],
    }


def policy(namespace: str) -> list[dict[str, Any]]:
    """Return a ValidatingAdmissionPolicy and its binding: they deny a pod that should have its model and has not.

    The policy also denies a pod that mounts another project's image as its model, and ephemeral containers that take
    the project's token, as the webhook does not see them.
    """
    return [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": names.POLICY, "labels": LABELS},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "matchPolicy": "Equivalent",
                    "resourceRules": [_pods(), _ephemeral_containers()],
                    **_selectors(namespace),
                },
                "matchConditions": _conditions(namespace),
                "variables": [
                    {"name": name, "expression": expression} for name, expression in POLICY_VARIABLES.items()
                ],
                "validations": [
                    {"expression": HAS_ITS_MODEL, "messageExpression": MESSAGE, "reason": "Forbidden"},
                    {"expression": KEEPS_ITS_TOKEN, "message": TOKEN_MESSAGE, "reason": "Forbidden"},
                    {"expression": MOUNTS_ITS_IMAGE, "messageExpression": IMAGE_MESSAGE, "reason": "Forbidden"},
                ],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": names.POLICY, "labels": LABELS},
            "spec": {"policyName": names.POLICY, "validationActions": ["Deny"]},
        },
    ]


TOKEN: Final = f"startsWith('{names.pull_secret('')}')"
# The content of `envFrom` is unknown here: only variables that a container names make it a target.
POLICY_VARIABLES: Final = {
    "annotations": "has(object.metadata.annotations) ? object.metadata.annotations : {}",
    # The webhook saw the pod, and its annotation says why the pod gets no model.
    "skipped": (
        f'"{names.STATUS_ANNOTATION}" in variables.annotations '
        f'&& variables.annotations["{names.STATUS_ANNOTATION}"].startsWith("skipped:")'
    ),
    "chosen": (
        f'"{names.CONTAINERS_ANNOTATION}" in variables.annotations '
        f'? variables.annotations["{names.CONTAINERS_ANNOTATION}"].split(",").map(name, name.trim()) : []'
    ),
    "targets": (
        f"{CONTAINERS_IN_CEL}.filter(c, (variables.chosen.size() == 0 || c.name in variables.chosen) && has(c.env) "
        # The last entry of a name wins. CEL binds a value to a name by a list of one.
        f"&& [{VARIABLES_IN_CEL}].all(name, [c.env.filter(e, e.name == name)].exists(es, es.size() > 0 "
        "&& [es[es.size() - 1]].exists(e, (has(e.value) && e.value != '') || has(e.valueFrom)))) "
        f'&& !c.env.exists(e, e.name == "{names.ARTIFACTS_PATH}"))'
    ),
    "bare": (
        "variables.targets.filter(c, !(has(c.volumeMounts) && c.volumeMounts.exists(m, m.mountPath =="
        f" '{ARTIFACTS_ROOT}' || m.mountPath.startsWith('{ARTIFACTS_ROOT}/'))))"
    ),
    # The volumes that hold a token, as `mutation.token_guard` finds them.
    "tokens": (
        f"has(object.spec.volumes) ? object.spec.volumes.filter(v, v.name == '{names.TOKEN_VOLUME}' ||"
        " (has(v.secret) && has(v.secret.secretName) &&"
        f" v.secret.secretName.{TOKEN}) || (has(v.projected) && has(v.projected.sources) &&"
        f" v.projected.sources.exists(s, has(s.secret) && has(s.secret.name) && s.secret.name.{TOKEN}))).map(v, v.name)"
        " : []"
    ),
    # An image is the project's if its repository has the project's id as a whole part of its path.
    "project": (
        f'has(object.metadata.labels) && "{names.PROJECT_ID_LABEL}" in object.metadata.labels'
        f" ? '/' + object.metadata.labels[\"{names.PROJECT_ID_LABEL}\"] : '//'"
    ),
    # A server before 1.31 does not know the field `image`, which `dyn` lets its type checker accept.
    "foreignImages": (
        "has(object.spec.volumes) ? object.spec.volumes.filter(v, has(dyn(v).image) && has(dyn(v).image.reference) &&"
        " ![dyn(v).image.reference.split('@')[0]].exists(r, r.endsWith(variables.project)"
        " || r.contains(variables.project + '/') || r.contains(variables.project + ':'))).map(v, v.name) : []"
    ),
    "foreign": (
        "variables.targets.filter(c, has(c.volumeMounts) && c.volumeMounts.exists(m, m.name in"
        f" variables.foreignImages && (m.mountPath == '{ARTIFACTS_ROOT}' ||"
        f" m.mountPath.startsWith('{ARTIFACTS_ROOT}/'))))"
    ),
}
HAS_ITS_MODEL: Final = "request.operation != 'CREATE' || variables.skipped || variables.bare.size() == 0"
KEEPS_ITS_TOKEN: Final = (
    "!has(object.spec.ephemeralContainers) || !object.spec.ephemeralContainers.exists(c, (has(c.volumeMounts) &&"
    " c.volumeMounts.exists(m, m.name in variables.tokens)) || (has(c.env) && c.env.exists(e, has(e.valueFrom) &&"
    f" has(e.valueFrom.secretKeyRef) && has(e.valueFrom.secretKeyRef.name) && e.valueFrom.secretKeyRef.name.{TOKEN}))"
    " || (has(c.envFrom) && c.envFrom.exists(f, has(f.secretRef) && has(f.secretRef.name) &&"
    f" f.secretRef.name.{TOKEN})))"
)
MOUNTS_ITS_IMAGE: Final = "request.operation != 'CREATE' || variables.skipped || variables.foreign.size() == 0"
IMAGE_MESSAGE: Final = (
    "'container ' + variables.foreign.map(c, c.name).join(', ') + ' mounts an image at its model that is not in a"
    " repository of the project of the pod'"
)
TOKEN_MESSAGE: Final = (
    f"the project's token is for {names.INIT_CONTAINER} alone: an ephemeral container does not get it"
)
MESSAGE: Final = (
    "'container ' + variables.bare.map(c, c.name).join(', ') + ' asks for an MLflow model and has none: the webhook "
    f"{names.WEBHOOK_SERVICE} was not available when the pod was created. A controller tries again by itself; "
    "`kubectl rollout restart` ends the wait. If it goes on, run `model-api-webhook doctor`.'"
)


def _pods() -> dict[str, Any]:
    return {
        "operations": ["CREATE"],
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "scope": "Namespaced",
    }


def _ephemeral_containers() -> dict[str, Any]:
    return _pods() | {"operations": ["UPDATE"], "resources": ["pods/ephemeralcontainers"]}


def _selectors(namespace: str) -> dict[str, Any]:
    parts = (Part.NAMESPACE_SELECTOR, Part.OBJECT_SELECTOR)
    return {part.value: {"matchExpressions": _requirements(_rules(namespace, part))} for part in parts}


def _requirements(of: Iterable[Rule]) -> list[dict[str, Any]]:
    found = [rule.requirement for rule in of if rule.requirement]
    return [
        {"key": requirement.key, "operator": requirement.operator, "values": [*requirement.values]}
        for requirement in found
    ]


def _conditions(namespace: str) -> list[dict[str, Any]]:
    return [{"name": rule.name, "expression": rule.cel} for rule in _rules(namespace, Part.MATCH_CONDITION)]


def _rules(namespace: str, part: Part) -> list[Rule]:
    return [rule for rule in rules(namespace) if rule.part is part]
