"""The rules that select the pods that the webhook looks at, as data. `targets.py` decides which containers get a model.

The API server applies the rules before it calls the webhook (selectors and matchConditions), the webhook repeats those
that it can see, `explain` prints a row per rule. All three take the rules from here. They are in the order in which the
API server applies them; the first that fails decides.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Any, Final

from model_contract import names
from webhook.injectors import NEVER_TARGETS
from webhook.reasons import Reason
from webhook.settings import Settings

Json = Mapping[str, Any]

NAME_OF_NAMESPACE: Final = "kubernetes.io/metadata.name"
SYSTEM_NAMESPACES: Final = ("kube-node-lease", "kube-public", "kube-system")
APP_LABEL: Final = "app.kubernetes.io/name"
MIRROR_ANNOTATION: Final = "kubernetes.io/config.mirror"
VARIABLES_IN_CEL: Final = ", ".join(f'"{name}"' for name in names.MODEL_VARIABLES)
NEVER_TARGETS_IN_CEL: Final = ", ".join(f'"{name}"' for name in NEVER_TARGETS)
# The containers that may get a model: all but the init containers of meshes and injectors. Ephemeral ones come after
# the admission.
CONTAINERS_IN_CEL: Final = (
    "(object.spec.containers + (has(object.spec.initContainers) "
    f"? object.spec.initContainers.filter(c, !(c.name in [{NEVER_TARGETS_IN_CEL}])) : []))"
)


class Part(StrEnum):
    """The field of the webhook's registration that holds a rule."""

    NAMESPACE_SELECTOR = "namespaceSelector"
    OBJECT_SELECTOR = "objectSelector"
    MATCH_CONDITION = "matchConditions"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A requirement of a label selector; `operator` is In or NotIn."""

    key: str
    operator: str
    values: tuple[str, ...]

    def holds(self, labels: Json) -> bool:
        return (labels.get(self.key) in self.values) is (self.operator == "In")

    def __str__(self) -> str:
        return f"{self.key} {self.operator} [{', '.join(self.values)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One condition: a selector's requirement, or a CEL expression with a function that decides the same."""

    name: str
    part: Part
    reason: Reason
    requirement: Requirement | None = None
    cel: str | None = None
    check: Callable[[Json], bool] | None = None

    @property
    def text(self) -> str:
        """The rule as the API server has it."""
        return str(self.requirement or self.cel)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """The result of a rule for one pod. `passed` is None if it is unknown: a review lacks the namespace's labels."""

    rule: Rule
    passed: bool | None


def evaluate(pod: Json, namespace: str, namespace_labels: Json | None, settings: Settings) -> list[RuleResult]:
    """Return the result of every rule in order, also of those after one that fails."""
    labels = labels_of(pod)
    return [
        RuleResult(rule=rule, passed=_passes(rule, pod, labels, namespace, namespace_labels))
        for rule in rules(settings.namespace)
    ]


def failed_rule(pod: Json, namespace: str, settings: Settings) -> Reason | None:
    """Return the reason of the first rule that fails, and look at no later one; None if every known rule holds."""
    labels = labels_of(pod)
    for rule in rules(settings.namespace):
        if _passes(rule, pod, labels, namespace, None) is False:
            return rule.reason
    return None


def first_failure(results: Sequence[RuleResult]) -> Reason | None:
    """Return the reason of the first rule that fails; None if every known rule holds."""
    return next((result.rule.reason for result in results if result.passed is False), None)


def _passes(rule: Rule, pod: Json, labels: Json, namespace: str, namespace_labels: Json | None) -> bool | None:
    if rule.check:
        return rule.check(pod)
    if not (requirement := rule.requirement):
        return None
    if rule.part is Part.OBJECT_SELECTOR:
        return requirement.holds(labels)
    if requirement.key == NAME_OF_NAMESPACE:
        return requirement.holds({NAME_OF_NAMESPACE: namespace})
    return None if namespace_labels is None else requirement.holds(namespace_labels)


@cache
def rules(own_namespace: str) -> tuple[Rule, ...]:
    return (
        Rule(
            name="namespace is enabled",
            part=Part.NAMESPACE_SELECTOR,
            reason=Reason.NAMESPACE_NOT_ENABLED,
            requirement=Requirement(key=names.ENABLED_LABEL, operator="In", values=("true",)),
        ),
        Rule(
            name="namespace is not excluded",
            part=Part.NAMESPACE_SELECTOR,
            reason=Reason.EXCLUDED_NAMESPACE,
            requirement=Requirement(
                key=NAME_OF_NAMESPACE, operator="NotIn", values=(*SYSTEM_NAMESPACES, own_namespace)
            ),
        ),
        Rule(
            name="pod is a model API",
            part=Part.OBJECT_SELECTOR,
            reason=Reason.NOT_MODEL_API,
            requirement=Requirement(key=names.WORKLOAD_TYPE_LABEL, operator="In", values=(names.MODEL_API_WORKLOAD,)),
        ),
        Rule(
            name="pod has not opted out",
            part=Part.OBJECT_SELECTOR,
            reason=Reason.OPTED_OUT,
            requirement=Requirement(key=names.INJECT, operator="NotIn", values=("false",)),
        ),
        Rule(
            name="pod is not the webhook",
            part=Part.OBJECT_SELECTOR,
            reason=Reason.WEBHOOK_ITSELF,
            requirement=Requirement(key=APP_LABEL, operator="NotIn", values=(names.WEBHOOK_IMAGE,)),
        ),
        Rule(
            name="not-mirror-pod",
            part=Part.MATCH_CONDITION,
            reason=Reason.MIRROR_POD,
            cel=f'!has(object.metadata.annotations) || !("{MIRROR_ANNOTATION}" in object.metadata.annotations)',
            check=lambda pod: MIRROR_ANNOTATION not in part_of(part_of(pod, "metadata"), "annotations"),
        ),
        Rule(
            name="carries-model-env",
            part=Part.MATCH_CONDITION,
            reason=Reason.NO_MODEL_VARIABLES,
            cel=(
                f"{CONTAINERS_IN_CEL}.exists(c, (has(c.env) && c.env.exists(e, e.name in [{VARIABLES_IN_CEL}])) "
                "|| (has(c.envFrom) && size(c.envFrom) > 0))"
            ),
            check=lambda pod: any(map(carries_model_env, possible_targets(part_of(pod, "spec")))),
        ),
    )


def possible_targets(spec: Json) -> list[Json]:
    """Return the same containers as `CONTAINERS_IN_CEL`."""
    init_containers = [
        container for container in entries(spec, "initContainers") if container.get("name") not in NEVER_TARGETS
    ]
    return entries(spec, "containers") + init_containers


def carries_model_env(container: Json) -> bool:
    """Return True if the container names one of the four variables, or has `envFrom`, which may hold one of them."""
    return bool(entries(container, "envFrom")) or any(
        entry.get("name") in names.MODEL_VARIABLES for entry in entries(container, "env")
    )


def labels_of(pod: Json) -> Json:
    return part_of(part_of(pod, "metadata"), "labels")


def part_of(parent: Json, key: str) -> Json:
    """Return the object below `key`; empty if it is no object, which `Pod.read` reports later."""
    value = parent.get(key)
    return value if isinstance(value, dict) else {}


def entries(parent: Json, key: str) -> list[Json]:
    value = parent.get(key)
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []
