"""A Lease that keeps two rollouts of one workload apart, and remembers a rollout that broke off.

A holder that dies stops renewing. Another run takes the Lease when it has seen no renewal for the Lease's duration: it
measures the time itself, because clocks of two machines differ. An annotation holds the state that a failed rollout
goes back to; it stays until the rollout has ended, so a run after a crash still knows it. Another one holds the states
that were tried since: a workload in any other state was changed by another caller, and is to go back to that state.
"""

import json
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from model_contract.names import DOMAIN
from model_lifecycle.errors import LifecycleError, PartialError, UnavailableError
from model_lifecycle.progress import Progress
from model_lifecycle.rollout.cluster_objects import ClusterObjects, ConflictError
from model_lifecycle.rollout.target import Target
from model_lifecycle.rollout.workloads import State

Json = dict[str, Any]

DURATION: Final = 30.0  # seconds without a renewal, after which another run may take the Lease
RENEWAL: Final = 8.0  # seconds between two renewals
PAUSE: Final = 2.0  # seconds between two looks at another's Lease
STATE_BEFORE: Final = f"{DOMAIN}/state-before"  # annotation: the state that a failed rollout goes back to
# Annotation: {"before": the state above, "tried": [...]}. A version that does not know it leaves it as it is.
STATES_TRIED: Final = f"{DOMAIN}/states-tried"


@dataclass(kw_only=True)
class WorkloadLease:
    """The Lease of a workload, which this process holds."""

    cluster: ClusterObjects
    document: Json
    _renewed: float = field(default_factory=time.monotonic)

    def before(self, present: State) -> State | None:
        """Return the state before the rollout that did not end.

        None if the last one ended, or if another caller has changed the workload to `present` since.
        """
        text = self._annotations().get(STATE_BEFORE)
        if text is None:
            return None
        found: State = json.loads(text)
        tried = self._tried(found)
        return found if present == found or tried is None or present in tried else None

    def remember(self, before: State | None, *, wanted: State | None = None) -> None:
        """Write the state to go back to from `wanted`; None when the rollout has ended. Raises LifecycleError."""
        written: dict[str, str] = {}
        if before is not None:
            tried = {"before": before, "tried": [*(self._tried(before) or []), wanted]}
            written = {STATE_BEFORE: json.dumps(before), STATES_TRIED: json.dumps(tried)}
        kept = {name: value for name, value in self._annotations().items() if name not in {STATE_BEFORE, STATES_TRIED}}
        self.document["metadata"]["annotations"] = kept | written
        self._write()

    def _annotations(self) -> dict[str, str]:
        return self.document["metadata"].get("annotations") or {}

    def _tried(self, before: State) -> list[State] | None:
        """Return the states that were tried since the state before; None if that is not known."""
        found = json.loads(self._annotations().get(STATES_TRIED, "{}"))
        return found["tried"] if found.get("before") == before else None

    def hold(self) -> None:
        """Renew the Lease if it is time. Raises PartialError if another run has taken it."""
        if time.monotonic() - self._renewed >= RENEWAL:
            with suppress(UnavailableError):  # the next call tries again
                self._write()

    def release(self) -> None:
        """Give the Lease back. Raises LifecycleError."""
        self.document["spec"]["holderIdentity"] = ""
        self._write()

    def _write(self) -> None:
        self.document["spec"]["renewTime"] = _now()
        try:
            self.document = self.cluster.replace_lease(self.document)
        except ConflictError as error:
            self._read_again(error)
        self._renewed = time.monotonic()

    def _read_again(self, error: ConflictError) -> None:
        """Read the Lease after a conflict: an own write may have been made without an answer. Raises PartialError."""
        found = self.cluster.lease(self.document["metadata"]["name"])
        if found is None or found["spec"].get("holderIdentity") != self.document["spec"]["holderIdentity"]:
            raise PartialError("another rollout of the workload has begun meanwhile, and goes on with it") from error
        self.document["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
        self.document = self.cluster.replace_lease(self.document)


@contextmanager
def held_lease(cluster: ClusterObjects, target: Target, deadline: float, progress: Progress) -> Iterator[WorkloadLease]:
    """Hold the workload's Lease in the block; wait for another run first. Raises UnavailableError at the deadline."""
    lease = WorkloadLease(cluster=cluster, document=_acquired(cluster, target, deadline, progress))
    try:
        yield lease
    finally:
        with suppress(LifecycleError):  # it expires
            lease.release()


def _acquired(cluster: ClusterObjects, target: Target, deadline: float, progress: Progress) -> Json:
    name, holder = f"model-api-rollout-{target.kind}-{target.name}", uuid.uuid4().hex
    begun = seen_at = time.monotonic()
    seen: Any = None
    while True:
        with suppress(ConflictError):
            found = cluster.lease(name)
            if found is None:
                return cluster.create_lease(_lease(name, cluster.namespace, holder))
            sign = (found["spec"].get("holderIdentity"), found["spec"].get("renewTime"))
            if sign != seen:
                seen, seen_at = sign, time.monotonic()
            if not sign[0] or time.monotonic() - seen_at > DURATION:
                return cluster.replace_lease(_taken(found, holder))
        if time.monotonic() > deadline:
            raise UnavailableError(f"another rollout of {target} has not ended; the same command waits for it again")
        progress.waiting("another rollout of it runs", time.monotonic() - begun)
        time.sleep(PAUSE)


def _lease(name: str, namespace: str, holder: str) -> Json:
    return {
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": "model-api", "app.kubernetes.io/part-of": "mlflow-model-api"},
        },
        "spec": _spec(holder),
    }


def _taken(found: Json, holder: str) -> Json:
    transitions = found["spec"].get("leaseTransitions", 0) + 1
    return found | {"spec": _spec(holder) | {"leaseTransitions": transitions}}


def _spec(holder: str) -> Json:
    now = _now()
    return {
        "holderIdentity": holder,
        "leaseDurationSeconds": int(DURATION),
        "acquireTime": now,
        "renewTime": now,
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
