"""Objects as they are after the webhook has changed their pods."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from difflib import unified_diff
from typing import Any

import jsonpatch

from webhook.admission import decide_pod
from webhook.decision import Decision
from webhook.offline.workloads import Workload, members, workloads_of
from webhook.offline.yaml_text import as_yaml
from webhook.pod import MalformedPodError
from webhook.reasons import Reason
from webhook.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedObject:
    """An object after the decision about each of its pods; there is none if it makes no pod."""

    original: dict[str, Any]
    content: dict[str, Any]
    decisions: Sequence[tuple[Workload, Decision]] = ()

    @property
    def denied(self) -> bool:
        return any(not decision.allowed for _, decision in self.decisions)

    @property
    def report(self) -> Iterator[str]:
        """One line about each decision, for the terminal."""
        for workload, decision in self.decisions:
            said = decision.message or "; ".join(decision.warnings) or decision.reason.remedy
            yield f"{workload.title}: {decision.outcome} ({decision.reason}, {decision.reason.rule}): {said}"


def inject(contents: Iterable[dict[str, Any]], settings: Settings, *, namespace: str) -> list[InjectedObject]:
    """Return every object in order, lists taken apart, after the decision about its pod.

    No image pull secret is added: a pod that has one does not get those of its ServiceAccount.
    """
    settings = replace(settings, image_pull_secrets=())
    return [inject_object(content, settings, namespace=namespace) for item in contents for _, content in members(item)]


def inject_object(content: dict[str, Any], settings: Settings, *, namespace: str) -> InjectedObject:
    decisions = [
        (workload, decision_about(workload, settings)) for workload in workloads_of(content, namespace=namespace)
    ]
    patch = [
        {**operation, "path": workload.pointer + operation["path"]}
        for workload, decision in decisions
        for operation in decision.operations
    ]
    return InjectedObject(original=content, content=jsonpatch.apply_patch(content, patch), decisions=decisions)


def decision_about(workload: Workload, settings: Settings) -> Decision:
    """Return the decision that the webhook would make about the pod of this object."""
    try:
        return decide_pod(workload.pod, workload.namespace, settings)
    except MalformedPodError as error:
        return Decision(reason=Reason.MALFORMED_POD, message=str(error))


def difference(objects: Iterable[InjectedObject]) -> str:
    """Return a unified diff of each object that makes pods, before and after the decisions."""
    return "".join(line for item in objects if item.decisions for line in _difference(item))


def _difference(item: InjectedObject) -> Iterator[str]:
    workload, _ = item.decisions[0]
    title = f"{workload.kind} {workload.namespace}/{workload.name}"
    before, after = (as_yaml([content]).splitlines(keepends=True) for content in (item.original, item.content))
    return unified_diff(before, after, f"{title} as it is", f"{title} as admitted")
