"""Detection of pods that run on Windows, by every field of the pod that decides it.

`spec.os.name` decides alone. Then what a node must have: `nodeSelector` and required node affinity. Then a host
process, which only Windows has, and the name of a RuntimeClass. What a RuntimeClass says about nodes is in
`nodeSelector` by now: the API server writes it there before it calls webhooks. Tolerations, `nodeName` and preferred
affinity decide nothing: a Linux pod may have each of them.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from webhook.pod import Pod, mapping, objects, text

Json = Mapping[str, Any]

WINDOWS: Final = "windows"
LINUX: Final = "linux"
OS_LABELS: Final = ("kubernetes.io/os", "beta.kubernetes.io/os")
WINDOWS_BUILD_LABEL: Final = "node.kubernetes.io/windows-build"  # the kubelet sets it on Windows nodes only
# As in windows-2022 of the Kubernetes documentation, or runhcs-wcow-process, the handler of containerd.
WINDOWS_WORD: Final = re.compile(r"(?<![^.-])(?:windows|wcow)[0-9]*(?![^.-])")


def runs_on_windows(pod: Pod) -> bool:
    """Return True if the pod runs on Windows. Raises MalformedPodError if one of the fields has the wrong type."""
    if name := text(mapping(pod.spec, "os"), "name"):
        return name == WINDOWS
    systems = {_selected(pod), _required(pod) if pod.spec.get("affinity") is not None else None}
    if WINDOWS in systems or _has_host_process(pod):
        return True
    return LINUX not in systems and _named_for_windows(text(pod.spec, "runtimeClassName"))


def _selected(pod: Pod) -> object:
    """Return the operating system that `nodeSelector` demands; None if it demands none."""
    if not (selector := mapping(pod.spec, "nodeSelector")):
        return None
    if WINDOWS_BUILD_LABEL in selector:
        return WINDOWS
    values = [selector[label] for label in OS_LABELS if label in selector]
    return WINDOWS if WINDOWS in values else LINUX if LINUX in values else None


def _required(pod: Pod) -> str | None:
    """Return the operating system that every required node affinity term demands; None if they differ."""
    required = mapping(
        mapping(mapping(pod.spec, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = [
        term
        for term in objects(required, "nodeSelectorTerms")
        if term.get("matchExpressions") or term.get("matchFields")
    ]
    systems = {_of_term(term) for term in terms}
    return systems.pop() if len(systems) == 1 else None


def _of_term(term: Json) -> str | None:
    systems = {_of_expression(expression) for expression in objects(term, "matchExpressions")}
    return WINDOWS if WINDOWS in systems else LINUX if LINUX in systems else None


def _of_expression(expression: Json) -> str | None:
    key, operator, values = expression.get("key"), expression.get("operator"), expression.get("values")
    if key == WINDOWS_BUILD_LABEL:
        return WINDOWS if operator in {"In", "Exists"} else None
    if key not in OS_LABELS:
        return None
    if not isinstance(values, list) or not values:
        return None
    if operator == "NotIn":
        return WINDOWS if LINUX in values else LINUX if WINDOWS in values else None
    return next(
        (system for system in (WINDOWS, LINUX) if operator == "In" and all(value == system for value in values)), None
    )


def _named_for_windows(runtime_class: str) -> bool:
    return WINDOWS_WORD.search(runtime_class) is not None


def _has_host_process(pod: Pod) -> bool:
    contexts = [pod.security_context]
    contexts += [
        mapping(container.raw, "securityContext")
        for container in pod.all_containers
        if container.raw.get("securityContext")
    ]
    return any(mapping(context, "windowsOptions").get("hostProcess") is True for context in contexts if context)
