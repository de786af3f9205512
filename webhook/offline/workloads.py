"""Kubernetes objects that make pods, and the pod templates in each of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Keys = tuple[str, ...]

TEMPLATES: Final[Mapping[str, Keys]] = {
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
# How other kinds name a field with a pod template, such as leaderTemplate of a LeaderWorkerSet: if a pod is there.
TEMPLATE: Final = "template"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """An object and a pod that it is or makes. `pointer` is the JSON pointer of that pod in the object.

    `part` names the template if the object has several, such as that of a leader and that of the workers.
    """

    kind: str
    name: str
    namespace: str
    pod: dict[str, Any]
    pointer: str
    part: str = ""

    @property
    def title(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}{self.part and f' {self.part}'}"


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


def workloads_of(content: Mapping[str, Any], *, namespace: str) -> list[Workload]:
    """Return the object with each of its pods; none if its kind makes no pods, or if its pod template is missing."""
    kind = content.get("kind")
    if not isinstance(kind, str):
        return []
    metadata = content.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    pods = _pods(kind, content)
    return [
        Workload(
            kind=kind,
            name=str(metadata.get("name") or f"{metadata.get('generateName', '')}..."),
            namespace=str(metadata.get("namespace") or namespace),
            # A template may have no metadata, as those of many Jobs; the pod that is made of it has some.
            pod=pod | {"metadata": {}} if path and pod.get("metadata") is None else pod,
            pointer="".join(f"/{key.replace('~', '~0').replace('/', '~1')}" for key in path),
            part=".".join(path) if len(pods) > 1 else "",
        )
        for path, pod in pods
    ]


def _pods(kind: str, content: Mapping[str, Any]) -> list[tuple[Keys, dict[str, Any]]]:
    """Return the pods with their paths: that of a kind of Kubernetes, or every template of another kind."""
    if kind in TEMPLATES:
        pod: Any = content
        for key in TEMPLATES[kind]:
            pod = pod.get(key) if isinstance(pod, dict) else None
        if isinstance(pod, dict):
            return [(TEMPLATES[kind], pod)]
    return list(_templates(content.get("spec"), ("spec",)))


def _templates(value: object, path: Keys) -> Iterator[tuple[Keys, dict[str, Any]]]:
    if isinstance(value, dict):
        if path[-1].lower().endswith(TEMPLATE) and _has_containers(value):
            yield path, value
            return
        for key, inner in value.items():
            yield from _templates(inner, (*path, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _templates(inner, (*path, str(index)))


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
