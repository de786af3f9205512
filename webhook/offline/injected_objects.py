"""Objects as they are after the webhook has changed their pods."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Any

import jsonpatch
import yaml

from webhook.admission import decide_pod
from webhook.decision import Decision
from webhook.offline.workloads import Workload, members, workload_of
from webhook.pod import MalformedPodError
from webhook.reasons import Reason
from webhook.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedObject:
    """An object after the decision about its pod; `workload` and `decision` are None if it makes no pod."""

    original: dict[str, Any]
    content: dict[str, Any]
    workload: Workload | None = None
    decision: Decision | None = None

    @property
    def denied(self) -> bool:
        return self.decision is not None and not self.decision.allowed

    @property
    def report(self) -> str | None:
        """One line about the decision, for the terminal; None if the object makes no pod."""
        if not self.workload or not self.decision:
            return None
        said = self.decision.message or "; ".join(self.decision.warnings) or self.decision.reason.remedy
        return (
            f"{self.workload.title}: {self.decision.outcome} ({self.decision.reason}, {self.decision.reason.rule}):"
            f" {said}"
        )


class Dumper(yaml.SafeDumper):
    """Writes block style, as kubectl does, without YAML aliases."""

    def ignore_aliases(self, _: Any) -> bool:
        return True


def inject(contents: Iterable[dict[str, Any]], settings: Settings, *, namespace: str) -> list[InjectedObject]:
    """Return every object in order, lists taken apart, after the decision about its pod.

    No image pull secret is added: a pod that has one does not get those of its ServiceAccount.
    """
    settings = replace(settings, image_pull_secrets=())
    return [inject_object(content, settings, namespace=namespace) for item in contents for _, content in members(item)]


def inject_object(content: dict[str, Any], settings: Settings, *, namespace: str) -> InjectedObject:
    workload = workload_of(content, namespace=namespace)
    if workload is None:
        return InjectedObject(original=content, content=content)
    decision = decision_about(workload, settings)
    patch = [operation | {"path": workload.pointer + operation["path"]} for operation in map(dict, decision.operations)]
    return InjectedObject(
        original=content, content=jsonpatch.apply_patch(content, patch), workload=workload, decision=decision
    )


def decision_about(workload: Workload, settings: Settings) -> Decision:
    """Return the decision that the webhook would make about the pod of this object."""
    try:
        return decide_pod(workload.pod, workload.namespace, settings)
    except MalformedPodError as error:
        return Decision(reason=Reason.MALFORMED_POD, message=str(error))


def difference(objects: Iterable[InjectedObject]) -> str:
    """Return a unified diff of each object that makes pods, before and after the decision."""
    return "".join(line for item in objects if item.workload for line in _difference(item, item.workload))


def _difference(item: InjectedObject, workload: Workload) -> Iterator[str]:
    before, after = (as_yaml([content]).splitlines(keepends=True) for content in (item.original, item.content))
    return unified_diff(before, after, f"{workload.title} as it is", f"{workload.title} as admitted")


def as_yaml(contents: Iterable[Mapping[str, Any]]) -> str:
    """Return the objects as a YAML stream."""
    return "---\n".join(
        yaml.dump(content, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=1000) for content in contents
    )
