"""Changes of tags, stages and aliases in MLflow. Each is sent again until MLflow has it.

An answer may get lost after MLflow has made a change, so each change knows how to read whether it was made.
"""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from model_lifecycle.errors import UnavailableError
from model_lifecycle.registry import Registry, Version

TRIES: Final = 7  # half a minute in all: enough for a restart of MLflow
LONGEST_WAIT: Final = 10.0  # seconds between two tries


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryChange:
    """A change that may be sent twice. `is_made` asks MLflow if it was made."""

    make: Callable[[], None]
    is_made: Callable[[], bool]


def confirmed_write(change: RegistryChange) -> None:
    """Make a change. Raises LifecycleError; UnavailableError if it is not known whether the change was made."""
    for attempt in range(1, TRIES + 1):
        try:
            if attempt == 1 or not change.is_made():
                change.make()
        except UnavailableError:
            if attempt == TRIES:
                raise
            time.sleep(min(LONGEST_WAIT, random.uniform(0.1, 0.3) * 2**attempt))  # noqa: S311  so that two callers do not retry at the same time
        else:
            return


def current(registry: Registry, version: Version) -> Version:
    """Return the version as MLflow has it now."""
    return registry.version(version.name, version.version)


def tag_change(registry: Registry, version: Version, key: str, value: str) -> RegistryChange:
    return RegistryChange(
        make=lambda: registry.set_tag(version, key, value),
        is_made=lambda: current(registry, version).tags.get(key) == value,
    )


def tag_removal(registry: Registry, version: Version, key: str) -> RegistryChange:
    return RegistryChange(
        make=lambda: registry.delete_tag(version, key),
        is_made=lambda: key not in current(registry, version).tags,
    )


def stage_change(
    registry: Registry, version: Version, stage: str, *, archive: bool = False, expected: str | None = None
) -> RegistryChange:
    """`archive` and `expected` are those of `Registry.transition`."""
    return RegistryChange(
        make=lambda: registry.transition(version, stage, archive=archive, expected=expected),
        is_made=lambda: current(registry, version).stage == stage,
    )


def alias_change(registry: Registry, name: str, alias: str, version: str) -> RegistryChange:
    return RegistryChange(
        make=lambda: registry.set_alias(name, alias, version),
        is_made=lambda: registry.model(name).aliases.get(alias) == version,
    )


def alias_removal(registry: Registry, name: str, alias: str) -> RegistryChange:
    return RegistryChange(
        make=lambda: registry.delete_alias(name, alias),
        is_made=lambda: alias not in registry.model(name).aliases,
    )
