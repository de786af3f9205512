"""The attributes that need OpenTelemetry of the extra `tracing`, or pyarrow of `tables`: imported when first read."""

from typing import TYPE_CHECKING

from serving_runtime.lazy_imports import lazy_attributes

if TYPE_CHECKING:
    from serving_runtime.observability.spans import http_span as http_span
    from serving_runtime.observability.spans import rpc_span as rpc_span
    from serving_runtime.observability.spans import tracer as tracer
    from serving_runtime.observability.table_files import table_writer as table_writer

__getattr__ = lazy_attributes(
    __name__,
    {
        "http_span": "serving_runtime.observability.spans:http_span",
        "rpc_span": "serving_runtime.observability.spans:rpc_span",
        "tracer": "serving_runtime.observability.spans:tracer",
        "table_writer": "serving_runtime.observability.table_files:table_writer",
    },
)
