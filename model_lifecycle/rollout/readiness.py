"""The progress of a Deployment, from its status and the statuses of its pods."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from model_contract.exit_codes import ExitCode
from model_contract.names import INIT_CONTAINER

Json = dict[str, Any]

# The container that fetches the model: the webhook's, or KServe's.
FETCHERS: Final = (INIT_CONTAINER, "storage-initializer")
# A fetch that ends with one of these codes would end with it again.
FINAL_CODES: Final = frozenset(
    {ExitCode.INVALID_INPUT, ExitCode.NOT_AUTHORISED, ExitCode.NOT_FOUND, ExitCode.PRECONDITION}
)
LONGEST_MESSAGE: Final = 500  # characters of a container's message


@dataclass(frozen=True, slots=True, kw_only=True)
class Readiness:
    """`done`: only pods of the new template run, and all are available. `failed`: they will not become available."""

    text: str
    done: bool = False
    failed: bool = False


def readiness(deployment: Json, pods: Sequence[Json], *, timed_out_before: str | None = None) -> Readiness:
    """Return the progress. `pods` are those of the Deployment's present template.

    `timed_out_before` is what `timed_out_at` returned before the last change: Kubernetes takes that back only when it
    sees progress, which may be later than the change.
    """
    status, replicas = deployment.get("status", {}), deployment["spec"].get("replicas", 1)
    if status.get("observedGeneration", 0) < deployment["metadata"]["generation"]:
        return Readiness(text="Kubernetes has not seen the change")
    updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
    if updated == replicas and status.get("replicas", 0) == updated and available == updated:
        return Readiness(text=f"{available} of {replicas} pods available", done=True)
    timed_out = timed_out_at(deployment) not in {None, timed_out_before}
    reasons = "; ".join([*_conditions(status), *_pod_reasons(pods)])
    text = f"{min(updated, available)} of {replicas} new pods available" + (f": {reasons}" if reasons else "")
    return Readiness(text=text, failed=timed_out or any(map(_will_not_start, pods)))


def is_selected(deployment: Json, pod: Json) -> bool:
    """Return True if the Deployment's selector takes the pod: its labels, and its expressions."""
    selector, labels = deployment["spec"]["selector"], pod["metadata"].get("labels", {})
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        _fits(one, labels.get(one["key"])) for one in selector.get("matchExpressions", [])
    )


def _fits(expression: Json, value: str | None) -> bool:
    values: Sequence[str] = expression.get("values", [])
    match expression["operator"]:
        case "In":
            return value in values
        case "NotIn":
            return value not in values
        case "Exists":
            return value is not None
        case _:  # DoesNotExist
            return value is None


def is_ready(pod: Json) -> bool:
    """Return True if the pod is ready and is not being deleted."""
    conditions = pod.get("status", {}).get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(
        one["type"] == "Ready" and one["status"] == "True" for one in conditions
    )


def timed_out_at(deployment: Json) -> str | None:
    """Return the time at which the Deployment exceeded its deadline for progress; None if it has not."""
    conditions: Sequence[Json] = deployment.get("status", {}).get("conditions", [])
    return next(
        (str(one.get("lastUpdateTime")) for one in conditions if one.get("reason") == "ProgressDeadlineExceeded"), None
    )


def _conditions(status: Json) -> Iterator[str]:
    """Yield why no pod can be made: a quota, or a webhook that denies it."""
    for one in status.get("conditions", []):
        if one["type"] == "ReplicaFailure" and one["status"] == "True":
            yield _short(one.get("message", ""))


def _will_not_start(pod: Json) -> bool:
    return any(
        one["name"] in FETCHERS and one.get("restartCount", 0) > 0 and _exit_code(one) in FINAL_CODES
        for one in pod.get("status", {}).get("initContainerStatuses", [])
    )


def _exit_code(status: Json) -> int | None:
    for state in (status.get("state", {}), status.get("lastState", {})):
        if "terminated" in state:
            return int(state["terminated"]["exitCode"])
    return None


def _pod_reasons(pods: Sequence[Json]) -> Iterator[str]:
    """Yield each different reason for which a pod waits, once."""
    found = dict.fromkeys(reason for pod in pods if not is_ready(pod) for reason in _reasons(pod))
    yield from list(found)[:3]


def _reasons(pod: Json) -> Iterator[str]:
    status = pod.get("status", {})
    for one in status.get("conditions", []):
        if one["type"] == "PodScheduled" and one["status"] == "False":
            yield f"not scheduled: {_short(one.get('message', ''))}"
    for one in [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]:
        waiting, ended = one.get("state", {}).get("waiting", {}), one.get("lastState", {}).get("terminated", {})
        if message := ended.get("message"):
            yield f"{one['name']}: {_short(message)}"
        elif waiting.get("reason") not in {None, "PodInitializing", "ContainerCreating"}:
            yield f"{one['name']}: {waiting['reason']}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_MESSAGE else f"{line[:LONGEST_MESSAGE]}..."
