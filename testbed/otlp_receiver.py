"""A receiver of OpenTelemetry's spans on this machine: OTLP over HTTP, in protobuf."""

import gzip
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from testbed.http_server import in_thread
from testbed.processes import PATIENCE


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceivedSpan:
    """A span as it came. Ids are in hex digits, `parent` is "" for none; times are in nanoseconds since the epoch."""

    name: str
    kind: int
    trace_id: str
    span_id: str
    parent: str
    state: str
    start: int
    end: int
    status: int
    attributes: Mapping[str, Any]
    resource: Mapping[str, Any]
    links: Sequence[tuple[str, str]]


@dataclass(slots=True)
class OtlpReceiver:
    """`status` is that of its answers: another one than 200 refuses the spans."""

    port: int
    status: int = 200
    spans: list[ReceivedSpan] = field(default_factory=list)
    requests: int = 0

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def of_trace(self, trace_id: str) -> dict[str, ReceivedSpan]:
        """Return the spans of a trace by their names."""
        return {span.name: span for span in list(self.spans) if span.trace_id == trace_id}

    def awaited(self, trace_id: str, count: int) -> dict[str, ReceivedSpan]:
        """Return the spans of a trace by their names once there are so many. Raises TimeoutError if there never are."""
        deadline = time.monotonic() + PATIENCE
        while len(found := self.of_trace(trace_id)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(found)} spans came of {count}: {found}")
            time.sleep(0.02)
        return found


@contextmanager
def otlp_receiver(port: int = 0) -> Iterator[OtlpReceiver]:
    """Run a receiver for the length of a `with` block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests += 1
            if self.path == "/v1/traces" and receiver.status == 200:  # noqa: PLR2004  OK
                receiver.spans += _spans(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(receiver.status if self.path == "/v1/traces" else 404)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name that http.server has
            pass

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    receiver = OtlpReceiver(port=server.server_port)
    with in_thread(server):
        yield receiver


def _spans(body: bytes) -> Iterator[ReceivedSpan]:
    for resource_spans in ExportTraceServiceRequest.FromString(body).resource_spans:
        resource = _values(resource_spans.resource.attributes)
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield ReceivedSpan(
                    name=span.name,
                    kind=span.kind,
                    trace_id=span.trace_id.hex(),
                    span_id=span.span_id.hex(),
                    parent=span.parent_span_id.hex(),
                    state=span.trace_state,
                    start=span.start_time_unix_nano,
                    end=span.end_time_unix_nano,
                    status=span.status.code,
                    attributes=_values(span.attributes),
                    resource=resource,
                    links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
                )


def _values(attributes: Any) -> dict[str, Any]:
    return {
        attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value") or "string_value")
        for attribute in attributes
    }
