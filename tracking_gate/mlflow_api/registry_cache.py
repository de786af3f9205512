"""Answers of MLflow that the gate remembers: owners of objects, promoted files, and experiments.

An answer is kept until a request through the gate may change it, and for at most a minute, since MLflow can also be
changed without the gate.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from tracking_gate.errors import Conflict, Refusal, Unavailable
from tracking_gate.mlflow_api.artifact_locations import overlap
from tracking_gate.mlflow_api.registry import Registry
from tracking_gate.mlflow_api.registry_objects import Experiment, Version
from tracking_gate.mlflow_api.version_sources import locations_of_version, promoted_locations

KEEP_SECONDS: Final = 60.0
MAX_OWNERS: Final = 10_000
Key = tuple[str, ...]


class Invalidates(Enum):
    """The remembered answers that an operation may change."""

    NOTHING = auto()
    ALL_IF_OWNERSHIP_TAG = auto()  # NOTHING for any other tag
    PROMOTED = auto()  # which files are promoted
    ALL = auto()  # promoted files, owners of objects, and experiments


class OwnerCache:
    """Remembers the project of each object for some seconds; for no time if several replicas change objects."""

    def __init__(self, keep_seconds: float = KEEP_SECONDS) -> None:
        self._keep_seconds = keep_seconds
        self._generation = 0
        self._unclear_until = 0.0
        self._known: dict[Key, tuple[float, str]] = {}

    @property
    def generation(self) -> int:
        """The number of changes so far: read it before a lookup, and give it to `keep` with the answer."""
        return self._generation

    def get(self, *key: str) -> str | None:
        until, project = self._known.get(key, (0.0, ""))
        return project if until > time.monotonic() else None

    def keep(self, generation: int, project: str | None, *key: str) -> None:
        """Keep an answer, unless owners may have changed since the lookup began."""
        if project is None or generation != self._generation or self._unclear_until > time.monotonic():
            return
        if not self._keep_seconds:
            return
        if len(self._known) >= MAX_OWNERS:
            del self._known[next(iter(self._known))]
        self._known[key] = (time.monotonic() + self._keep_seconds, project)

    def forget(self, *, unclear: bool = False) -> None:
        """Forget all projects. After an `unclear` change, which MLflow may still make, nothing is kept for a while."""
        self._generation += 1
        self._known.clear()
        if unclear:
            self._unclear_until = time.monotonic() + KEEP_SECONDS


@dataclass(slots=True, eq=False)
class Write:
    """A write of files that is under way; `refusal` is set if a version with files there is promoted meanwhile."""

    location: str
    refusal: Refusal | None = None

    def check(self) -> None:
        """Raise the Refusal."""
        if self.refusal:
            raise self.refusal


class RegistryCache:
    """Remembers promoted files and experiments; `owners` remembers the rest, `registry` looks up what is not known."""

    def __init__(self, registry: Registry, keep_seconds: float = KEEP_SECONDS) -> None:
        """`keep_seconds` is 0 if other processes change MLflow too: then every answer is MLflow's own."""
        self.registry = registry
        self.owners = OwnerCache(keep_seconds)
        self._keep_seconds = keep_seconds
        self.writes: set[Write] = set()
        self._generation = 0
        self._unclear_until = 0.0
        self._promoted: tuple[float, Mapping[str, Version]] | None = None
        self._experiments: tuple[float, list[Experiment]] | None = None

    def forget(self, invalidates: Invalidates, *, unclear: bool = False) -> None:
        """Forget what an operation may have changed; lookups that are under way are not kept either.

        `unclear` follows an operation without an answer, which MLflow may still make: nothing is kept for a while.
        """
        if invalidates is Invalidates.NOTHING:
            return
        self._generation += 1
        self._promoted = None
        if unclear:
            self._unclear_until = time.monotonic() + KEEP_SECONDS
        if invalidates is Invalidates.ALL:
            self._experiments = None
            self.owners.forget(unclear=unclear)

    async def refuse_writes(self, name: str, number: str) -> None:
        """Refuse the writes under way where a version that is promoted now has files."""
        if not self.writes:
            return
        try:
            version = await self.registry.version(name, number)
            locations = await locations_of_version(self.registry, version) if version else set()
        except Unavailable:
            return self.refuse_all_writes()
        for write in self.writes:
            if any(overlap(write.location, location) for location in locations):
                write.refusal = Conflict(f"version {number} of {name} is promoted; its files do not change")

    def refuse_all_writes(self) -> None:
        """Refuse all writes under way, after a promotion of which MLflow does not say what became of it, or where."""
        for write in self.writes:
            write.refusal = Unavailable("a version may have been promoted meanwhile, and MLflow does not answer")

    def forget_experiments(self) -> None:
        self._experiments = None

    async def promoted(self) -> Mapping[str, Version]:
        """Return each location of a promoted version, with the version."""
        now, generation = time.monotonic(), self._generation
        if self._promoted and self._promoted[0] > now:
            return self._promoted[1]
        promoted = await promoted_locations(self.registry)
        if generation == self._generation and self._unclear_until <= now:
            self._promoted = (now + self._keep_seconds, promoted)
        return promoted

    async def experiments(self) -> Iterable[Experiment]:
        now, generation = time.monotonic(), self._generation
        if self._experiments and self._experiments[0] > now:
            return self._experiments[1]
        experiments = await self.registry.experiments()
        if generation == self._generation:
            self._experiments = (now + self._keep_seconds, experiments)
        return experiments
