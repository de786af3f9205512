"""Pods created at a steady rate as a dry run: admitted like any other, and not stored."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from lightkube import Client, KubeConfig
from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import Status
from lightkube.resources.core_v1 import Pod

from model_contract.names import INIT_CONTAINER

SENDERS: Final = 8


@dataclass(slots=True)
class Outcome:
    """Results of the pods: seconds of those with their model, of those without, and reasons of refusals."""

    seconds: list[float] = field(default_factory=list)
    bare_seconds: list[float] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.seconds) + len(self.bare_seconds) + len(self.refused)


@contextmanager
def pods_at(rate: float, pod: dict[str, Any], kubeconfig: Path) -> Iterator[Outcome]:
    """Create `rate` pods a second while the block runs, from clients that keep their connections."""
    outcome, stop = Outcome(), threading.Event()
    wanted: Any = Pod.from_dict(
        pod
    )  # here, and not in the threads, since msgspec 0.22 crashes if two threads are the first to need a class
    Status.from_dict({})
    senders = min(SENDERS, max(1, round(rate)))
    started = time.monotonic()

    def send(number: int) -> None:
        due = started + number / rate
        with Client(KubeConfig.from_file(kubeconfig), field_manager="load") as client:
            while not stop.wait(max(0.0, due - time.monotonic())):
                create(client, wanted, outcome)
                due += senders / rate

    threads = [threading.Thread(target=send, args=(number,)) for number in range(senders)]
    for thread in threads:
        thread.start()
    try:
        yield outcome
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def create(client: Client, pod: Pod, outcome: Outcome) -> None:
    began = time.perf_counter()
    try:
        created = client.create(pod, dry_run=True)
    except ApiError as error:
        outcome.refused.append(str(error))
        return
    seconds = time.perf_counter() - began
    names = [container.name for container in (created.spec.initContainers if created.spec else None) or []]
    (outcome.seconds if INIT_CONTAINER in names else outcome.bare_seconds).append(seconds)
