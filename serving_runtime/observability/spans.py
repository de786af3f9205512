"""The spans of a request, by OpenTelemetry: made in a background thread, from the times that its log line has.

A request has the span of the server, and below it `wait`, `predict` and `write`. A request of a batch has a `predict`
of its own, with the times of the call, which links to that of the batch's first request.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes.error_attributes import ERROR_TYPE
from opentelemetry.semconv.attributes.http_attributes import (
    HTTP_REQUEST_METHOD,
    HTTP_REQUEST_METHOD_ORIGINAL,
    HTTP_RESPONSE_STATUS_CODE,
    HTTP_ROUTE,
)
from opentelemetry.semconv.attributes.url_attributes import URL_PATH, URL_SCHEME
from opentelemetry.trace import SpanKind, Status, StatusCode, TraceState

from serving_runtime.frozen_record import frozen_record
from serving_runtime.observability.access_log import LONGEST_PATH
from serving_runtime.observability.metrics import CLIENT_LEFT
from serving_runtime.observability.request_trace import RequestTrace, span_context
from serving_runtime.observability.sampling import decision
from serving_runtime.observability.span_export import SpanCounts, SpanExport

if TYPE_CHECKING:
    from serving_runtime.http.request_head import TraceContext
    from serving_runtime.observability.request_stats import RequestStats

SCOPE: Final = InstrumentationScope("serving_runtime")
PREFIX: Final = "model_api."  # of attributes that have no convention
OK: Final = Status(StatusCode.UNSET)
FAILED: Final = Status(StatusCode.ERROR)
METHODS: Final = frozenset(["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"])
LONGEST_METHOD: Final = 20  # characters
LEAST_ERROR: Final = 500
# The codes of gRPC that are faults of the server.
RPC_FAULTS: Final = frozenset(["UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"])
UNKNOWN_SERVICE: Final = "unknown_service"
TRACE_STATES: Final = "opentelemetry.trace.span"
HEADERS: Final = "opentelemetry.util.re"
SECOND: Final = 1_000_000_000  # in nanoseconds


@frozen_record
class SpanDescription:
    """Name and attributes of a request's span, by the conventions of its protocol. `error` is its type, if it failed.

    https://opentelemetry.io/docs/specs/semconv/
    """

    name: str
    attributes: Mapping[str, Any]
    error: str | None = None


class HashedResource(Resource):
    """A resource that computes its hash once: the exporter needs it for each span, and it is computed from JSON."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(resource.attributes, resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash


class Tracer:
    """Makes the spans of requests; those of the model's own code come through OpenTelemetry's global provider."""

    def __init__(
        self, provider: TracerProvider, export: SpanExport, model: Mapping[str, str], environ: Mapping[str, str]
    ) -> None:
        self._decide = decision(provider.sampler, environ)
        self._ids = provider.id_generator
        self._resource = provider.resource
        self._export = export
        self._model = {f"{PREFIX}model.{key}": value for key, value in model.items() if value}

    def begin(self, name: str, parent: "TraceContext | None", own_id: str | None) -> RequestTrace:
        """Return the trace of a request. It is not sampled if there is no room for its spans, which are counted.

        `own_id` is the id of the request if this server made it: 32 hex digits, which become those of a new trace.
        """
        trace_id = parent.trace_id if parent else own_id or f"{self._ids.generate_trace_id():032x}"
        sampled = self._decide(name, trace_id, parent) and self._export.has_room()
        return RequestTrace(trace_id, parent, self._ids.generate_span_id, sampled)

    def end(self, trace: RequestTrace, stats: "RequestStats", describe: Callable[[], SpanDescription]) -> None:
        """Send the spans of an answered request, if it is sampled. `describe` is called in another thread."""
        self._export.put(partial(self._spans, trace, stats, describe))

    def finish(self) -> None:
        """Wait until the spans are sent, or for a moment if nothing takes them."""
        self._export.finish()

    def _spans(
        self, trace: RequestTrace, stats: "RequestStats", describe: Callable[[], SpanDescription], clock: float
    ) -> list[ReadableSpan]:
        """Return the spans of a request. `clock` is the time of day at which the performance counter was 0."""
        described = describe()
        parent = trace.parent
        state = TraceState.from_header([parent.state]) if parent and parent.state else None
        own = trace.context(trace.span_id, state)
        spans = [
            ReadableSpan(
                name=step.name,
                context=trace.context(step.span_id or self._ids.generate_span_id(), state),
                parent=own,
                resource=self._resource,
                attributes=step.attributes,
                links=step.links,
                status=FAILED if step.error else OK,
                start_time=_nanoseconds(clock + step.start),
                end_time=_nanoseconds(clock + step.end),
                instrumentation_scope=SCOPE,
            )
            for step in _steps(trace, stats)
        ]
        return [
            *spans,
            ReadableSpan(
                name=described.name,
                context=own,
                parent=span_context(parent, state) if parent else None,
                resource=self._resource,
                attributes=_with_error({**described.attributes, **self._model}, described.error),
                kind=SpanKind.SERVER,
                status=FAILED if described.error else OK,
                start_time=_nanoseconds(clock + stats.began),
                end_time=_nanoseconds(clock + stats.began + stats.seconds),
                instrumentation_scope=SCOPE,
            ),
        ]


@frozen_record
class _Step:
    """A span below that of the request. Times are of the performance counter."""

    name: str
    start: float
    end: float
    span_id: int | None = None
    attributes: Mapping[str, Any] | None = None
    links: tuple[otel.Link, ...] = ()
    error: str | None = None


def _steps(trace: RequestTrace, stats: "RequestStats") -> Iterator[_Step]:
    """Yield the steps that the request got to: one that is refused while it is read has none."""
    end = stats.began + stats.seconds
    if trace.streamed:
        yield _Step(
            name="predict",
            start=stats.done,
            end=end,
            span_id=trace.predict_id,
            attributes=_with_error({}, trace.error),
            error=trace.error,
        )
    elif trace.call is not None:
        seconds, requests, rows = trace.call
        begin, leader = trace.called_at - seconds, trace.leader
        yield _Step(name="wait", start=stats.done, end=max(stats.done, begin))
        yield _Step(
            name="predict",
            start=begin,
            end=trace.called_at,
            span_id=trace.predict_id,
            attributes=_with_error({f"{PREFIX}batch.requests": requests, f"{PREFIX}batch.rows": rows}, trace.error),
            links=(otel.Link(leader.context(leader.predict_id)),) if leader and leader.sampled else (),
            error=trace.error,
        )
        if trace.error is None:
            yield _Step(name="write", start=trace.called_at, end=max(trace.called_at, end))
    elif stats.done:
        yield _Step(name="wait", start=stats.done, end=end)


def _with_error(attributes: Mapping[str, Any], error: str | None) -> Mapping[str, Any]:
    return {**attributes, ERROR_TYPE: error} if error else attributes


def _nanoseconds(seconds: float) -> int:
    return int(seconds * SECOND)


def http_span(method: str, path: str, route: str | None, request_id: str, stats: "RequestStats") -> SpanDescription:
    """Return the description of a request over HTTP. Its query, its headers and its body are in no attribute."""
    known = method in METHODS
    attributes: dict[str, Any] = {
        HTTP_REQUEST_METHOD: method if known else "_OTHER",
        URL_PATH: path[:LONGEST_PATH],
        URL_SCHEME: "http",
        **_of_request(request_id, stats),
    }
    if not known:
        attributes[HTTP_REQUEST_METHOD_ORIGINAL] = method[:LONGEST_METHOD]
    if route:
        attributes[HTTP_ROUTE] = route
    left = stats.status == CLIENT_LEFT
    if not left:
        attributes[HTTP_RESPONSE_STATUS_CODE] = stats.status
    name = " ".join(filter(None, (method if known else "HTTP", route)))
    error = "client_left" if left else str(stats.status) if stats.status >= LEAST_ERROR else None
    return SpanDescription(name=name, attributes=attributes, error=error)


def rpc_span(method: str, status: str, request_id: str, stats: "RequestStats") -> SpanDescription:
    """Return the description of a call of gRPC: `method` is `package.Service/Method`, `status` a name, such as OK.

    https://opentelemetry.io/docs/specs/semconv/rpc/grpc/
    """
    attributes = {"rpc.system.name": "grpc", "rpc.method": method, "rpc.response.status_code": status}
    error = status if status in RPC_FAULTS else None
    return SpanDescription(name=method, attributes={**attributes, **_of_request(request_id, stats)}, error=error)


def _of_request(request_id: str, stats: "RequestStats") -> dict[str, Any]:
    """Return the attributes that every protocol has."""
    known: dict[str, Any] = {f"{PREFIX}protocol": stats.protocol}
    if stats.trace is None or request_id != stats.trace.trace_id:
        known[f"{PREFIX}request_id"] = request_id
    if stats.rows is not None:
        known[f"{PREFIX}rows"] = stats.rows
    return known


def tracer(environ: Mapping[str, str], model: Mapping[str, str], counts: SpanCounts, processors: float) -> Tracer:
    """Return the tracer of one process, and make it that of the model's own code. Raises what OpenTelemetry raises."""
    for name in (TRACE_STATES, HEADERS):  # their warnings repeat what a client, or a secret variable, has sent
        logging.getLogger(name).setLevel(logging.CRITICAL)
    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith(UNKNOWN_SERVICE):
        resource = resource.merge(Resource({SERVICE_NAME: model["name"]}))
    provider = TracerProvider(resource=HashedResource(resource), shutdown_on_exit=False)
    export = SpanExport(OTLPSpanExporter(), environ, counts, processors=processors)
    provider.add_span_processor(export)
    if isinstance(otel.get_tracer_provider(), otel.ProxyTracerProvider):  # else the model's code has set one
        otel.set_tracer_provider(provider)
    return Tracer(provider, export, model, environ)
