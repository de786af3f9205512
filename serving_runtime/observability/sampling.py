"""Sampling of traces: decides by the ids alone, as the specification's samplers do, which requests have spans."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.sdk.environment_variables import OTEL_TRACES_SAMPLER_ARG
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Decision, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, TraceState

from serving_runtime.observability.request_trace import span_context

if TYPE_CHECKING:
    from serving_runtime.http.request_head import TraceContext

# Takes the name of the request, the id of its trace in hex digits, and the span of its caller.
Decide = Callable[[str, str, "TraceContext | None"], bool]

LOW_DIGITS: Final = 16  # of a trace id: the 64 bits that a ratio is decided by
NO_PARENT: Final = otel_context.Context()


def decision(sampler: Sampler, environ: Mapping[str, str]) -> Decide:
    """Return a function that decides as the sampler does; one outside of the specification is called each time."""
    roots: list[tuple[Sampler, Callable[[str], bool]]] = [(ALWAYS_ON, lambda _: True), (ALWAYS_OFF, lambda _: False)]
    ratio = _ratio(environ)
    if ratio is not None:
        roots.append((ratio, lambda trace_id: int(trace_id[-LOW_DIGITS:], 16) < ratio.bound))
    described = sampler.get_description()
    for root, decides in roots:
        if described == root.get_description():
            return _always(decides)
        if described == ParentBased(root).get_description():  # type: ignore[no-untyped-call]  # of OpenTelemetry
            return _parent_based(decides)
    return _asked(sampler)


def _ratio(environ: Mapping[str, str]) -> TraceIdRatioBased | None:
    try:
        return TraceIdRatioBased(float(environ.get(OTEL_TRACES_SAMPLER_ARG, "").strip() or 1.0))
    except ValueError:  # OpenTelemetry has warned, and taken another sampler
        return None


def _always(decides: Callable[[str], bool]) -> Decide:
    return lambda _, trace_id, __: decides(trace_id)


def _parent_based(decides: Callable[[str], bool]) -> Decide:
    return lambda _, trace_id, parent: parent.sampled if parent else decides(trace_id)


def _asked(sampler: Sampler) -> Decide:
    def decide(name: str, trace_id: str, parent: "TraceContext | None") -> bool:
        context = _remote(parent) if parent else NO_PARENT
        decided = sampler.should_sample(context, int(trace_id, 16), name, SpanKind.SERVER)
        return decided.decision is Decision.RECORD_AND_SAMPLE

    return decide


def _remote(parent: "TraceContext") -> otel_context.Context:
    state = TraceState.from_header([parent.state]) if parent.state else None
    return otel.set_span_in_context(otel.NonRecordingSpan(span_context(parent, state)), NO_PARENT)
