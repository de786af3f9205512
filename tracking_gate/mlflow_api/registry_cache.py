"""Whose an object is, as MLflow said a moment ago.

It is kept until something that the gate lets through may give an object to somebody else, and a minute at most, for
what is changed past the gate.
"""

import time
from typing import Final

KEPT: Final = 60.0  # seconds
MOST: Final = 10_000  # objects
Key = tuple[str, ...]


class OwnerCache:
    """The project of each object; None where it is not known, or has none."""

    def __init__(self) -> None:
        self._changes = 0
        self._unclear_until = 0.0
        self._known: dict[Key, tuple[float, str]] = {}

    @property
    def changes(self) -> int:
        """To be read before MLflow is asked, and given to `keep` with its answer."""
        return self._changes

    def of(self, *key: str) -> str | None:
        until, project = self._known.get(key, (0.0, ""))
        return project if until > time.monotonic() else None

    def keep(self, changes: int, project: str | None, *key: str) -> None:
        """Not where something has changed while the answer was on its way."""
        if project is None or changes != self._changes or self._unclear_until > time.monotonic():
            return
        if len(self._known) >= MOST:
            del self._known[next(iter(self._known))]
        self._known[key] = (time.monotonic() + KEPT, project)

    def forget(self, *, unclear: bool = False) -> None:
        """`unclear` is after a change of which nobody knows whether MLflow has made it or is still about to."""
        self._changes += 1
        self._known.clear()
        if unclear:
            self._unclear_until = time.monotonic() + KEPT
