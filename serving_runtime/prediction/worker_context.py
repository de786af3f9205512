"""The state of one process of the server: its model, metrics, recorder and tokens, and the phase that it is in."""

import mmap
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from serving_runtime.http.tokens import Tokens
from serving_runtime.observability.capture import Recorder
from serving_runtime.observability.metrics import Metrics
from serving_runtime.protocols.interface import Inputs, Message, ServedModel

if TYPE_CHECKING:
    from serving_runtime.model import Model
    from serving_runtime.observability.spans import Tracer
    from serving_runtime.prediction.warm_up import WarmUpResult

Read = Callable[[Message, ServedModel], Inputs]  # a protocol's


class Phase(StrEnum):
    LOADING = "loading"
    READY = "ready"
    STOPPING = "stopping"


class Draining:
    """True once the server is about to end: one byte, written by the supervisor and read by the workers it forks."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, 1)

    def begin(self) -> None:
        self._memory[0] = 1

    def __bool__(self) -> bool:
        return self._memory[0] == 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedModel:
    """A model that was warmed up, its description for clients, and the result of the warm-up."""

    model: "Model"
    served: ServedModel
    warm_up: "WarmUpResult"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """`tokens` is None if requests need none. `loaded` is None in the placeholder server, which has no model.

    `read_large` has another process read a message; None if this process reads all. `tracer` is None if no spans are
    made.
    """

    metrics: Metrics
    recorder: Recorder
    draining: Draining
    tokens: Tokens | None = None
    loaded: LoadedModel | None = None
    read_large: Callable[[Read, Message], Inputs] | None = None
    tracer: "Tracer | None" = None

    @property
    def phase(self) -> Phase:
        if self.draining:
            return Phase.STOPPING
        return Phase.READY if self.loaded else Phase.LOADING
