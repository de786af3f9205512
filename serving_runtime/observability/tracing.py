"""Tracing by the variables of OpenTelemetry, which is imported only if one of them names a receiver."""

import logging
from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from model_contract.extras import missing_extra
from serving_runtime.observability import lazy

if TYPE_CHECKING:
    from serving_runtime.observability.metrics import Metrics
    from serving_runtime.observability.spans import Tracer

RECEIVER: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOL: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
HTTP: Final = "http/protobuf"
EXPORTER: Final = "otlp"
PACKAGE: Final = "opentelemetry.exporter.otlp.proto.http"

_log = logging.getLogger(__name__)


def is_on(environ: Mapping[str, str]) -> bool:
    """Return True if the variables ask for spans: a receiver or the exporter is named, and nothing forbids it."""
    values = {name: environ.get(name, "").strip().lower() for name in ("OTEL_SDK_DISABLED", "OTEL_TRACES_EXPORTER")}
    if values["OTEL_SDK_DISABLED"] == "true":
        return False
    exporters = [name.strip() for name in values["OTEL_TRACES_EXPORTER"].split(",") if name.strip()]
    return EXPORTER in exporters or (not exporters and any(environ.get(name) for name in RECEIVER))


def problem(environ: Mapping[str, str]) -> str | None:
    """Return the reason why the spans that the variables ask for cannot be sent."""
    protocol = next((value for name in PROTOCOL if (value := environ.get(name, "").strip())), HTTP)
    if protocol != HTTP:
        return f"spans are sent by {HTTP} only; set {PROTOCOL[0]}={HTTP}, and an endpoint that takes it"
    try:
        found = find_spec(PACKAGE)
    except ModuleNotFoundError:  # of a package above it
        found = None
    return None if found else missing_extra(PACKAGE, "tracing")


def warn(environ: Mapping[str, str]) -> None:
    """Log the problem. A platform may set the variables for every pod, so the problem does not stop the server."""
    if is_on(environ) and (reason := problem(environ)):
        _log.warning("no spans are made", extra={"fields": {"reason": reason}})


def new_tracer(
    environ: Mapping[str, str], model: Mapping[str, str], metrics: "Metrics", processors: float
) -> "Tracer | None":
    """Return the tracer of one worker, None if there is none. Call it after the last fork: it starts a thread."""
    if not is_on(environ) or problem(environ):
        return None
    try:
        return lazy.tracer(environ, model, metrics, processors)
    except Exception as error:  # noqa: BLE001  a variable that OpenTelemetry cannot read
        _log.warning("no spans are made", extra={"fields": {"reason": f"{type(error).__name__}: {error}"}})
        return None
