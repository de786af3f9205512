"""Metrics for Prometheus. Labels are closed sets of outcomes, reasons and stages; none names a pod or a user."""

from contextlib import AbstractContextManager
from datetime import datetime
from importlib.metadata import version
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from model_contract.names import REGISTRATION, WEBHOOK_METRICS
from webhook.decision import Decision
from webhook.reasons import Outcome

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BYTES = (1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20)
ERROR = "error"  # the outcome of a review that could not be answered
STAGES = ("parse", "decide", "encode")


class Metrics:
    """The registry of the one process that answers reviews."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # saves one series for each counter
        self.registry = CollectorRegistry()
        self._requests = self._of(Counter, "admission_requests", "Reviews by outcome.", "outcome", "dry_run")
        self._skips = self._of(Counter, "skips", "Pods that started without the model they seem to want.", "reason")
        self._denials = self._of(Counter, "denials", "Pods that were denied.", "reason")
        self._errors = self._of(Counter, "errors", "Reviews that could not be answered, by stage.", "stage")
        self._seconds = Histogram(
            f"{WEBHOOK_METRICS}admission_duration_seconds",
            "From the body's arrival to the answer.",
            ["outcome"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._bytes = Histogram(
            f"{WEBHOOK_METRICS}review_bytes", "Size of reviews.", buckets=BYTES, registry=self.registry
        )
        self._in_flight = self._of(Gauge, "in_flight_requests", "Reviews under way.")
        self._not_after = self._of(
            Gauge, "tls_certificate_not_after_timestamp_seconds", "Until when the certificate is valid.", "role"
        )
        self._in_sync = self._of(
            Gauge, "ca_bundle_in_sync", "1 if the API server trusts the self-managed certificate.", "registration"
        )
        self._reloads = self._of(
            Counter, "tls_reloads", "Times that the certificate's files were read again.", "result"
        )
        self._of(Gauge, "build_info", "The version that runs.", "version").labels(version("mlflow-model-api")).set(1)
        # A counter that is there from the start has a rate from the start.
        for outcome in Outcome:
            self._requests.labels(outcome, "false")
        for stage in STAGES:
            self._errors.labels(stage)

    def _of(self, kind: Any, name: str, meaning: str, *labels: str) -> Any:
        return kind(f"{WEBHOOK_METRICS}{name}", meaning, labels, registry=self.registry)

    def in_flight(self, size: int) -> AbstractContextManager[Any]:
        """Count a review of `size` bytes as under way while the context is open."""
        self._bytes.observe(size)
        tracker: AbstractContextManager[Any] = self._in_flight.track_inprogress()
        return tracker

    def answered(self, decision: Decision, seconds: float, *, dry_run: bool) -> None:
        outcome = decision.outcome
        self._requests.labels(outcome, str(dry_run).lower()).inc()
        self._seconds.labels(outcome).observe(seconds)
        if outcome is Outcome.SKIPPED:
            self._skips.labels(decision.reason).inc()
        if outcome is Outcome.DENIED:
            self._denials.labels(decision.reason).inc()

    def failed(self, stage: str, seconds: float) -> None:
        self._requests.labels(ERROR, "false").inc()
        self._errors.labels(stage).inc()
        self._seconds.labels(ERROR).observe(seconds)

    def reloaded(self, *, good: bool, not_after: datetime) -> None:
        self._reloads.labels("success" if good else "failure").inc()
        self.valid_until(not_after)

    def reconciled(self, in_sync: bool, authority_until: datetime) -> None:
        """Record a round of the reconciler of the self-managed certificates."""
        self._in_sync.labels(REGISTRATION).set(
            in_sync
        )  # a label, so that there is no series without self-managed certificates
        self._not_after.labels("ca").set(authority_until.timestamp())

    def valid_until(self, not_after: datetime) -> None:
        self._not_after.labels("leaf").set(not_after.timestamp())
