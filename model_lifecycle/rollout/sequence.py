"""The steps of a rollout: take the Lease, change, wait, ask the new pods; and the way back if one of them fails."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar

from lightkube import Client

from model_contract.secret import Secret
from model_lifecycle.errors import (
    LifecycleError,
    PartialError,
    PreconditionError,
    PutBackError,
    UnavailableError,
)
from model_lifecycle.progress import Progress
from model_lifecycle.rollout.cluster_objects import ClusterObjects, PodProxy
from model_lifecycle.rollout.desired_version import DesiredVersion
from model_lifecycle.rollout.pod_checks import (
    Address,
    Comparison,
    Server,
    check_example,
    compare,
    info_of,
    version_difference,
)
from model_lifecycle.rollout.readiness import Readiness, is_ready, readiness, timed_out_at
from model_lifecycle.rollout.target import Kind, Target
from model_lifecycle.rollout.workload_lease import WorkloadLease, held_lease
from model_lifecycle.rollout.workloads import (
    DeploymentWorkload,
    InferenceServiceWorkload,
    State,
    Workload,
)

Json = dict[str, Any]

Answer = TypeVar("Answer")

PAUSE: Final = 1.0  # seconds between two looks
PATIENCE: Final = 15.0  # seconds in which a new pod, or a new route to it, may not answer


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutOptions:
    """Options of a rollout. `wait` is in seconds, for the new pods and again for the way back.

    `url` is asked instead of each pod; `calls` False asks nothing. `percent` is the canary's share of the requests.
    """

    wait: float = 600.0
    calls: bool = True
    container: str | None = None
    canary: bool = False
    percent: int = 0
    url: str | None = None
    token: Secret | None = None
    comparison: Comparison = field(default_factory=Comparison)


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutResult:
    """A rollout that ended well. `changed` is False if the workload served the version already.

    `compared` is the number of recorded requests; `split` says for a canary if an HTTPRoute sends requests to it.
    """

    workload: str
    model: str
    version: str
    changed: bool
    pods: int
    example: bool
    compared: int
    seconds: float
    split: bool | None = None


class NotReadyError(PreconditionError):
    """The new pods did not become available."""


class Rollout:
    """One rollout of one workload to one version."""

    def __init__(
        self, target: Target, desired: DesiredVersion, client: Client, options: RolloutOptions, progress: Progress
    ) -> None:
        self._target, self._desired, self._options = target, desired, options
        self._client, self._progress = client, progress
        self._cluster = ClusterObjects(client=client, namespace=target.namespace)
        self._begun = time.monotonic()
        self._timed_out_before: str | None = None  # what the Deployment said before the last change

    def planned(self) -> tuple[State, State]:
        """Return the present state and the wanted one; nothing is changed. Raises LifecycleError."""
        workload = self._read()
        return workload.state(), workload.state_of(self._desired)

    def run(self) -> RolloutResult:
        """Run the rollout. Raises PutBackError if it failed and the workload serves as before; LifecycleError.

        A run that is broken off, or an UnavailableError, leaves the change as it is; the next run goes on from there.
        """
        present, wanted = self.planned()
        deadline = time.monotonic() + self._options.wait
        with held_lease(self._cluster, self._target, deadline, self._progress) as lease:
            now = self._read().state()
            before = lease.before(now) or now
            changed = before != wanted or present != wanted
            if changed:
                lease.remember(before, wanted=wanted)
                self._change(wanted, deadline)
                self._progress.done("changed", _difference(wanted, before))
            try:
                pods = self._wait(lease, wanted, deadline)
                example, compared = self._ask(lease, pods) if self._options.calls else (False, 0)
            except PreconditionError as failure:
                if before == wanted:
                    raise
                self._put_back(lease, wanted, before, failure)
            lease.remember(None)
        return RolloutResult(
            workload=str(self._target),
            model=self._desired.name,
            version=self._desired.version,
            changed=changed,
            pods=len(pods),
            example=example,
            compared=compared,
            seconds=round(time.monotonic() - self._begun, 1),
            split=self._split(),
        )

    def _read(self) -> Workload:
        return self._workload_of(self._cluster.workload(self._target))

    def _workload_of(self, document: Json) -> Workload:
        if self._target.kind is Kind.DEPLOYMENT:
            return DeploymentWorkload(document=document, container=self._options.container)
        return InferenceServiceWorkload(document=document, canary=self._options.canary, percent=self._options.percent)

    def _change(self, wanted: State, deadline: float, *, only_from: State | None = None) -> None:
        """Bring the workload from `only_from`, or from its present state, to `wanted`.

        A workload in any third state was changed by another caller, and is left as it is. Raises PartialError then,
        LifecycleError.
        """
        while True:
            try:
                document = self._cluster.workload(self._target)
                workload = self._workload_of(document)
                present = workload.state()
                if present == wanted:
                    return
                if present != (only_from := only_from or present):
                    raise PartialError(self._changed_by_another())
                deployment = self._cluster.deployment(workload.deployment)
                self._timed_out_before = timed_out_at(deployment) if deployment else None
                self._cluster.patch(self._target, workload, wanted, document["metadata"]["resourceVersion"])
            except UnavailableError:  # a conflict or an unclear answer, too: the state is read again
                if time.monotonic() > deadline:
                    raise
                time.sleep(PAUSE)

    def _wait(self, lease: WorkloadLease, wanted: State, deadline: float) -> list[Json]:
        """Return the new pods as soon as the Deployment has no others, and all are available.

        Raises NotReadyError if they fail or are not available by the deadline, PartialError if another changed the
        workload, UnavailableError if the cluster does not answer at the deadline.
        """
        begun = time.monotonic()
        while True:
            lease.hold()
            unavailable: UnavailableError | None = None
            try:
                now, pods = self._look(wanted)
                text = now.text
                if now.done:
                    self._progress.done("ready", text)
                    return pods
                if now.failed:
                    raise NotReadyError(f"the new pods do not start: {text}")
            except UnavailableError as error:
                unavailable, text = error, str(error)
            spent = time.monotonic() - begun
            if time.monotonic() > deadline:
                if unavailable:
                    raise unavailable
                raise NotReadyError(f"not ready after {spent:.0f} s: {text}")
            self._progress.waiting(text, spent)
            time.sleep(PAUSE)

    def _look(self, wanted: State) -> tuple[Readiness, list[Json]]:
        """Return the progress of the Deployment, and its new pods that are ready. Raises LifecycleError."""
        workload = self._read()
        if workload.state() != wanted:
            raise PartialError(self._changed_by_another())
        deployment = self._cluster.deployment(workload.deployment)
        if deployment is None or not workload.pods_serve(deployment["spec"]["template"], wanted):
            return Readiness(text=f"deployment/{workload.deployment} does not have the change yet"), []
        pods = [pod for pod in self._cluster.pods_of(deployment) if workload.pods_serve(pod, wanted)]
        now = readiness(deployment, pods, timed_out_before=self._timed_out_before)
        return now, [pod for pod in pods if is_ready(pod)]

    def _ask(self, lease: WorkloadLease, pods: Sequence[Json]) -> tuple[bool, int]:
        """Ask each server for its version, and the first one for more.

        Raises PreconditionError if one does not answer as the version must.
        """
        example, compared = False, 0
        for number, server in enumerate(self._servers(pods)):
            if number == 0:
                example, compared = self._ask_first(lease, server)
            else:
                self._answered(lease, partial(self._info, server))
        asked = f"{len(pods)} pods serve version {self._desired.version}" if pods else "no pod runs"
        self._progress.done("asked", asked + (f", {compared} recorded requests answered" if compared else ""))
        return example, compared

    def _ask_first(self, lease: WorkloadLease, server: Server) -> tuple[bool, int]:
        info = self._answered(lease, lambda: self._info(server))
        example = self._answered(lease, lambda: check_example(server, info))
        return example, self._answered(lease, lambda: compare(server, self._options.comparison, lease.hold))

    def _servers(self, pods: Sequence[Json]) -> Iterator[Server]:
        if self._options.url:
            with closing(Address(self._options.url, self._options.token)) as address:
                yield address
            return
        for pod in pods:
            with closing(PodProxy(self._client, self._target.namespace, pod)) as proxy:
                yield proxy

    def _info(self, server: Server) -> Json:
        """Return `/info` of the version. An address may lead to a former pod for a moment. Raises LifecycleError."""
        info = info_of(server)
        if different := version_difference(info, self._desired):
            kind = UnavailableError if self._options.url else PreconditionError
            raise kind(f"{server.title} serves {different}")
        return info

    def _answered(self, lease: WorkloadLease, ask: Callable[[], Answer]) -> Answer:
        """Return the answer of `ask`, which is called again while the server does not answer.

        Raises PreconditionError, PartialError.
        """
        begun = time.monotonic()
        while True:
            lease.hold()
            try:
                return ask()
            except PartialError:
                raise
            except UnavailableError as error:
                if time.monotonic() - begun > PATIENCE:
                    raise PreconditionError(str(error)) from error
            except LifecycleError as error:
                raise PreconditionError(str(error)) from error
            time.sleep(PAUSE)

    def _put_back(self, lease: WorkloadLease, wanted: State, before: State, failure: PreconditionError) -> None:
        """Bring the workload back into the state before. Raises PutBackError if it is there, PartialError if not."""
        self._progress.done("failed", str(failure))
        deadline = time.monotonic() + self._options.wait
        try:
            self._change(before, deadline, only_from=wanted)
            if any(before.values()):
                self._wait(lease, before, deadline)
        except LifecycleError as error:
            raise PartialError(
                f"{self._target} could not be rolled out to {self._desired}: {failure}. It is not back in its former"
                f" state ({_difference(before, wanted)}): {error}"
            ) from error
        lease.remember(None)
        raise PutBackError(f"{failure}. {self._target} is back in its former state ({_difference(before, wanted)})")

    def _changed_by_another(self) -> str:
        return f"{self._target} was changed by another meanwhile, and is left as it is"

    def _split(self) -> bool | None:
        if not self._options.canary:
            return None
        return bool(self._cluster.weighted_routes(self._read().deployment))


def _difference(state: State, other: State) -> str:
    """Return the values of a state that differ from those of another."""
    return ", ".join(f"{key}={value}" for key, value in state.items() if value != other.get(key)) or "unchanged"
