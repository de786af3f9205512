"""How far one process of the server is, between its start and its end."""

import mmap
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving_runtime.model import Model


class Phase(StrEnum):
    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


class Draining:
    """Whether the server is about to end: one byte that the supervisor writes and its workers, forked later, read."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def begin(self) -> None:
        self._memory[0] = 1

    def __bool__(self) -> bool:
        return self._memory[0] == 1


class Lifecycle:
    """A process has no model while it stands in for those that will; one with a model has warmed it before it accepts a
    request.
    """

    def __init__(self, model: "Model | None", draining: Draining) -> None:
        self.model = model
        self._draining = draining

    @property
    def stopping(self) -> bool:
        return bool(self._draining)

    @property
    def phase(self) -> Phase:
        if self.stopping:
            return Phase.STOPPING
        return Phase.READY if self.model else Phase.LOADING
