"""Kubernetes objects that make pods, and the pod template in each of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

TEMPLATES: Final = {
    "Pod": (),
    "PodTemplate": ("template",),
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
OTHER_KINDS: Final = ("spec", "template")  # such as a Rollout of Argo, a Service of Knative: if a pod is there


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An object and the pod that it is or makes. `pointer` is the JSON pointer of that pod in the object."""

    kind: str
    name: str
    namespace: str
    pod: dict[str, Any]
    pointer: str

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def members(content: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each object of a List with its JSON pointer, or the object itself.

    An item without a kind has that of its list, such as a PodList of the API: kubectl reads it so.
    """
    items, kind = content.get("items"), str(content.get("kind"))
    if kind.endswith("List") and isinstance(items, list):
        of_list = {"apiVersion": content.get("apiVersion"), "kind": kind.removesuffix("List")}
        for index, item in enumerate(items):
            if isinstance(item, dict):
                for pointer, inner in members(item if item.get("kind") or kind == "List" else of_list | item):
                    yield f"/items/{index}{pointer}", inner
    else:
        yield "", dict(content)


def workload_of(content: Mapping[str, Any], *, namespace: str) -> Workload | None:
    """Return the object with its pod; None if its kind makes no pods, or if its pod template is missing."""
    kind = content.get("kind")
    if not isinstance(kind, str):
        return None
    path = TEMPLATES.get(kind, OTHER_KINDS)
    pod: Any = content
    for key in path:
        pod = pod.get(key) if isinstance(pod, dict) else None
    if not isinstance(pod, dict) or (kind not in TEMPLATES and not _has_containers(pod)):
        return None
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return Workload(
        kind=kind,
        name=str(metadata.get("name") or f"{metadata.get('generateName', '')}..."),
        namespace=str(metadata.get("namespace") or namespace),
        # A template may have no metadata, as those of many Jobs; the pod that is made of it has some.
        pod=pod | {"metadata": {}} if path and pod.get("metadata") is None else pod,
        pointer="".join(f"/{key}" for key in path),
    )


def _has_containers(pod: Mapping[str, Any]) -> bool:
    spec = pod.get("spec")
    return isinstance(spec, dict) and isinstance(spec.get("containers"), list)


def namespace_labels(contents: list[dict[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return the labels of each Namespace among the objects, by its name."""
    found: dict[str, Mapping[str, Any]] = {}
    for content in contents:
        metadata = content.get("metadata")
        if content.get("kind") == "Namespace" and isinstance(metadata, dict):
            labels = metadata.get("labels")
            found[str(metadata.get("name"))] = labels if isinstance(labels, dict) else {}
    return found
