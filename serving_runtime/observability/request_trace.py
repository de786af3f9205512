"""The ids of one request's spans, which the server carries with the request until they are made."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

from opentelemetry import context as context_api
from opentelemetry import trace as otel
from opentelemetry.trace import TraceFlags, TraceState

if TYPE_CHECKING:
    from serving_runtime.http.request_head import TraceContext

SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
NOT_SAMPLED: Final = TraceFlags(TraceFlags.DEFAULT)

Result = TypeVar("Result")


class RequestTrace:
    """The ids of a request's spans, and the call of the model that it was in.

    A request that is not sampled has no spans. It has an id only if the model's own code asks for the current span.
    """

    __slots__ = (
        "_new_id",
        "call",
        "called_at",
        "error",
        "leader",
        "parent",
        "predict_id",
        "sampled",
        "span_id",
        "streamed",
        "trace_id",
    )

    def __init__(self, trace_id: str, parent: "TraceContext | None", new_id: Callable[[], int], sampled: bool) -> None:
        self.trace_id = trace_id
        self.parent = parent
        self.sampled = sampled
        self._new_id = new_id
        self.span_id = new_id() if sampled else 0
        self.predict_id = new_id() if sampled else 0
        self.call: tuple[float, int, int] | None = None
        self.called_at = 0.0
        self.leader: RequestTrace | None = None
        self.error: str | None = None
        self.streamed = False

    @property
    def header(self) -> tuple[bytes, bytes]:
        """The header traceresponse (https://w3c.github.io/trace-context/#traceresponse-header)."""
        value = f"00-{self.trace_id}-{self.span_id:016x}-{int(self.sampled):02x}"
        return b"traceresponse", value.encode()

    def called(self, seconds: float, requests: int, rows: int, *, leader: "RequestTrace | None", result: Any) -> None:
        """Note the call of the model that has ended. `leader` is the first of its requests, if it had several."""
        self.leader = None if leader is self else leader
        self.called_at = self.leader.called_at if self.leader else time.perf_counter()
        self.call = seconds, requests, rows
        self.error = type(result).__name__ if isinstance(result, Exception) else None

    def run(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Call the function, which sees the span `predict` as the current one."""
        token = self.make_current()
        try:
            return function(*arguments)
        finally:
            context_api.detach(token)

    def make_current(self) -> Any:
        return context_api.attach(otel.set_span_in_context(_PredictSpan(self)))

    def predict_context(self) -> otel.SpanContext:
        """Return the context of the span `predict`, as the model's own code sees it."""
        if not self.predict_id:
            self.predict_id = self._new_id()
        state = self.parent.state if self.parent else ""
        return self.context(self.predict_id, TraceState.from_header([state]) if state else None)

    def context(self, span_id: int, state: TraceState | None = None) -> otel.SpanContext:
        flags = SAMPLED if self.sampled else NOT_SAMPLED
        return otel.SpanContext(int(self.trace_id, 16), span_id, False, flags, state)


class _PredictSpan(otel.NonRecordingSpan):
    """The current span of the model's own code. Its context is made when that code asks for it, which few do."""

    def __init__(self, trace: RequestTrace) -> None:
        self._trace = trace

    def get_span_context(self) -> otel.SpanContext:
        return self._trace.predict_context()

    def __repr__(self) -> str:
        return f"NonRecordingSpan({self.get_span_context()!r})"


def span_context(parent: "TraceContext", state: TraceState | None = None) -> otel.SpanContext:
    """Return the caller's span."""
    flags = SAMPLED if parent.sampled else NOT_SAMPLED
    return otel.SpanContext(int(parent.trace_id, 16), int(parent.span_id, 16), True, flags, state)
