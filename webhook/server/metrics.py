"""Metrics for Prometheus. Labels are closed sets of outcomes, reasons and stages; none names a pod or a user."""

import errno
import time
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from datetime import datetime
from importlib.metadata import version
from itertools import accumulate
from typing import Final

from prometheus_client import CollectorRegistry, Gauge, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.utils import floatToGoString

from model_contract.names import REGISTRATION, WEBHOOK_METRICS
from model_contract.shared_metrics import Metric, SharedMetrics
from webhook.decision import Decision
from webhook.reasons import Outcome, Reason

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)
BYTES: Final = (1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 8 << 20)
ERROR: Final = "error"  # the outcome of a review that could not be answered
STAGES: Final = ("parse", "decide", "encode")
SUPERVISOR: Final = -1  # its row holds what is true of the server, and not of one worker
# A killed worker releases the lock of the single tasks before its port: its successor may find the port still in use.
PORT_SECONDS: Final = 5.0
PORT_PAUSE: Final = 0.01  # seconds between two tries

REQUESTS: Final = f"{WEBHOOK_METRICS}admission_requests"
SKIPS: Final = f"{WEBHOOK_METRICS}skips"
DENIALS: Final = f"{WEBHOOK_METRICS}denials"
ERRORS: Final = f"{WEBHOOK_METRICS}errors"
DURATION: Final = f"{WEBHOOK_METRICS}admission_duration_seconds"
REVIEW_BYTES: Final = f"{WEBHOOK_METRICS}review_bytes"
IN_FLIGHT: Final = f"{WEBHOOK_METRICS}in_flight_requests"
CONNECTIONS: Final = f"{WEBHOOK_METRICS}connections"
NOT_AFTER: Final = f"{WEBHOOK_METRICS}tls_certificate_not_after_timestamp_seconds"
IN_SYNC: Final = f"{WEBHOOK_METRICS}ca_bundle_in_sync"
RELOADS: Final = f"{WEBHOOK_METRICS}tls_reloads"

METRICS: Final = (
    Metric(
        name=REQUESTS,
        kind="counter",
        meaning="Reviews by outcome.",
        labels=("outcome", "dry_run"),
        series=[(outcome, dry_run) for outcome in (*Outcome, ERROR) for dry_run in ("false", "true")],
    ),
    Metric(
        name=SKIPS,
        kind="counter",
        meaning="Pods that started without the model they seem to want.",
        labels=("reason",),
        series=[(reason.value,) for reason in Reason if reason.outcome is Outcome.SKIPPED],
    ),
    Metric(
        name=DENIALS,
        kind="counter",
        meaning="Pods that were denied.",
        labels=("reason",),
        series=[(reason.value,) for reason in Reason if reason.outcome is Outcome.DENIED],
    ),
    Metric(
        name=ERRORS,
        kind="counter",
        meaning="Reviews that could not be answered, by stage.",
        labels=("stage",),
        series=[(stage,) for stage in STAGES],
    ),
    Metric(
        name=DURATION,
        kind="histogram",
        meaning="From the body's arrival to the answer.",
        labels=("outcome",),
        series=[(outcome,) for outcome in (*Outcome, ERROR)],
        bounds=SECONDS,
    ),
    Metric(name=REVIEW_BYTES, kind="histogram", meaning="Size of reviews.", bounds=BYTES),
    Metric(name=IN_FLIGHT, kind="gauge", meaning="Reviews under way."),
    Metric(name=CONNECTIONS, kind="gauge", meaning="Connections of clients."),
    Metric(
        name=NOT_AFTER,
        kind="gauge",
        meaning="Until when the certificate is valid.",
        labels=("role",),
        series=[("leaf",), ("ca",)],
    ),
    Metric(
        name=IN_SYNC,
        kind="gauge",
        meaning="1 if the API server trusts the self-managed certificate.",
        labels=("registration",),
        series=[(REGISTRATION,)],
    ),
    Metric(
        name=RELOADS,
        kind="counter",
        meaning="Times that the certificate's files were read again.",
        labels=("result",),
        series=[("success",), ("failure",)],
    ),
)
# Counters that are there from the start have a rate from the start.
FROM_START: Final = frozenset(
    [*((REQUESTS, (outcome, "false")) for outcome in Outcome), *((ERRORS, (stage,)) for stage in STAGES)]
)


class Metrics:
    """The metrics of all workers. Each one counts in a row of its own, which it takes with `use_row`."""

    def __init__(self, workers: int = 1) -> None:
        # While workers are replaced there are twice as many; one row more is the supervisor's.
        self.shared = SharedMetrics(METRICS, 2 * workers + 2)
        self._server = self._row = self.shared.row(self.shared.take(SUPERVISOR))
        self._cells = {
            (metric.name, *values): self.shared.starts[metric.name] + position * metric.width
            for metric in METRICS
            for position, values in enumerate(metric.series)
        }
        self.registry = CollectorRegistry()
        self.registry.register(SharedCollector(self.shared, self._cells))
        Gauge(f"{WEBHOOK_METRICS}build_info", "The version that runs.", ["version"], registry=self.registry).labels(
            version("mlflow-model-api")
        ).set(1)

    def serve(self, host: str, port: int) -> None:
        """Serve `/metrics` in a thread. Raises OSError if the port is not free within PORT_SECONDS."""
        until = time.monotonic() + PORT_SECONDS
        while True:
            try:
                start_http_server(port, host, self.registry)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or time.monotonic() > until:
                    raise
                time.sleep(PORT_PAUSE)
            else:
                return

    def use_row(self, row: int) -> None:
        """Count in this row from now on."""
        self._row = self.shared.row(row)

    def began(self, size: int) -> None:
        """Count a review of `size` bytes as under way until it is answered or has failed."""
        self._observe(self._cells[REVIEW_BYTES,], BYTES, size)
        self._row[self._cells[IN_FLIGHT,]] += 1.0

    def answered(self, decision: Decision, seconds: float, *, dry_run: bool) -> None:
        outcome, cells = decision.outcome, self._cells
        self._row[cells[REQUESTS, outcome, "true" if dry_run else "false"]] += 1.0
        self._ended(outcome, seconds)
        if outcome is Outcome.SKIPPED:
            self._row[cells[SKIPS, decision.reason.value]] += 1.0
        elif outcome is Outcome.DENIED:
            self._row[cells[DENIALS, decision.reason.value]] += 1.0

    def failed(self, stage: str, seconds: float) -> None:
        self._row[self._cells[REQUESTS, ERROR, "false"]] += 1.0
        self._row[self._cells[ERRORS, stage]] += 1.0
        self._ended(ERROR, seconds)

    def connected(self, count: int) -> None:
        """Record the connections that this worker has."""
        self._row[self._cells[CONNECTIONS,]] = float(count)

    def connections(self) -> float:
        """Return the connections of all workers."""
        return self.shared.sums()[self._cells[CONNECTIONS,]]

    def reloaded(self, *, good: bool, not_after: datetime) -> None:
        self._row[self._cells[RELOADS, "success" if good else "failure"]] += 1.0
        self.valid_until(not_after)

    def reconciled(self, in_sync: bool, authority_until: datetime) -> None:
        """Record a round of the reconciler of the self-managed certificates, which runs in one worker."""
        self._server[self._cells[IN_SYNC, REGISTRATION]] = float(in_sync)
        self._server[self._cells[NOT_AFTER, "ca"]] = authority_until.timestamp()

    @property
    def in_sync(self) -> bool:
        """True if the API server trusts the self-managed certificate, by the last round of any worker."""
        return self._server[self._cells[IN_SYNC, REGISTRATION]] == 1.0

    def valid_until(self, not_after: datetime) -> None:
        self._server[self._cells[NOT_AFTER, "leaf"]] = not_after.timestamp()

    def _ended(self, outcome: str, seconds: float) -> None:
        self._row[self._cells[IN_FLIGHT,]] -= 1.0
        self._observe(self._cells[DURATION, outcome], SECONDS, seconds)

    def _observe(self, start: int, bounds: Sequence[float], value: float) -> None:
        self._row[start + bisect_left(bounds, value)] += 1.0
        self._row[start + len(bounds) + 1] += value


class SharedCollector:
    """Gives prometheus_client the sums over all workers, those that have ended included."""

    def __init__(self, shared: SharedMetrics, cells: dict[tuple[str, ...], int]) -> None:
        self._shared, self._cells = shared, cells

    def collect(self) -> Iterator[CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily]:
        """Yield every metric. A series of zero is left out, unless it is there from the start or has no labels."""
        sums = self._shared.sums()
        reconciled = sums[self._cells[NOT_AFTER, "ca"]] != 0.0  # else there are no self-managed certificates
        for metric in METRICS:
            family = FAMILIES[metric.kind](metric.name, metric.meaning, labels=metric.labels)
            for values in metric.series:
                start = self._cells[metric.name, *values]
                cells = sums[start : start + metric.width]
                shown = reconciled if metric.name == IN_SYNC else not metric.labels or any(cells)
                if shown or (metric.name, values) in FROM_START:
                    _add(family, metric, values, cells)
            yield family


FAMILIES: Final = {"counter": CounterMetricFamily, "gauge": GaugeMetricFamily, "histogram": HistogramMetricFamily}


def _add(
    family: CounterMetricFamily | GaugeMetricFamily | HistogramMetricFamily,
    metric: Metric,
    values: Sequence[str],
    cells: Sequence[float],
) -> None:
    if isinstance(family, HistogramMetricFamily):
        *buckets, total = cells
        bounds = [*map(floatToGoString, metric.bounds), "+Inf"]
        family.add_metric(values, list(zip(bounds, accumulate(buckets), strict=True)), total)
    else:
        family.add_metric(values, cells[0])
