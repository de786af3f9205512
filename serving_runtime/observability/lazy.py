"""The attributes that need OpenTelemetry of the extra `tracing`, imported when they are first read."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from serving_runtime.observability.spans import http_span as http_span
    from serving_runtime.observability.spans import tracer as tracer

__getattr__ = lazy_attributes(
    __name__,
    {
        "http_span": "serving_runtime.observability.spans:http_span",
        "tracer": "serving_runtime.observability.spans:tracer",
    },
)
