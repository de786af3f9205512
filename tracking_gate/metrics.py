"""Metrics for Prometheus. Labels are closed sets, such as rules and decisions, never projects, models or people."""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from importlib.metadata import version
from time import perf_counter
from typing import Final, TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)

from model_contract.names import GATE_METRICS
from model_contract.tokens import Purpose
from tracking_gate.errors import Refusal
from tracking_gate.secret_directory import KnownToken, SecretDirectory, Tokens

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
HANG_UPS: Final = ("body", "upstream", "answer")
CLOSED: Final = ("head", "answer", "close", "idle", "full")
FORWARDED: Final = ("answered", "unanswered")
DOMINO_ANSWERS: Final = ("known", "nobody", "unclear")
FETCHES: Final = ("read", "failed")

Metric = TypeVar("Metric", Counter, Gauge)


class Metrics:
    """The metrics of the one process of a gate."""

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # one more series for each metric, which is not needed
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self._requests = self._of(Counter, "requests", "Requests by rule and decision.", "rule", "decision")
        self._refusals = self._of(
            Counter, "refusals", "Refusals and errors that the gate answered itself, by reason.", "reason"
        )
        self._errors = self._of(Counter, "errors", "Requests that failed in the gate itself.")
        self._audit = self._of(Counter, "audit_failures", "Lines of the audit log that could not be written.")
        self._unlogged = self._of(
            Counter, "unlogged_refusals", "Refusals that the audit log counts, but has no line of."
        )
        self._hang_ups = self._of(
            Counter,
            "client_hang_ups",
            "Clients that hung up: in their body, while MLflow worked, or in the answer.",
            "phase",
        )
        self._cuts = self._of(Counter, "upstream_cuts", "Answers that MLflow ended in the middle.")
        self._malformed = self._of(
            Counter, "malformed_requests", "Requests that cannot be read, answered with 400 or 431."
        )
        self._connections = self._of(Gauge, "connections", "Connections of clients.")
        self._closed = self._of(
            Counter,
            "connections_closed",
            "Connections that the gate closed: too slow (head, answer, close), or for room (idle, full).",
            "cause",
        )
        self._people = self._of(
            Counter, "people_checks", "Requests to Domino for the identity of a person, by result.", "result"
        )
        self._leads = self._of(Gauge, "leader", "1 in the process that makes changes: one of several replicas.")
        self._forwarded = self._of(
            Counter,
            "forwarded_changes",
            "Changes that a replica forwarded to the one that makes them, by the result.",
            "result",
        )
        self._lease_errors = self._of(
            Counter, "lease_errors", "Requests to the API server for the Lease of the replicas that failed."
        )
        self._keys = self._of(
            Counter, "issuer_key_fetches", "Fetches of the keys of issuers of tokens, by result.", "result"
        )
        self._in_flight = self._of(Gauge, "in_flight_requests", "Requests under way.")
        upstream = Histogram(
            f"{GATE_METRICS}upstream_seconds",
            "Seconds until MLflow answers: the gate's own lookups and moves (ask), and forwarded requests (stream).",
            ["kind"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._of(Gauge, "build_info", "The version that runs.", "version").labels(version("mlflow-model-api")).set(1)
        # A counter that exists from the start has a rate from the start.
        for reason in reasons():
            self._refusals.labels(reason)
        for result in DOMINO_ANSWERS:
            self._people.labels(result)
        for result in FORWARDED:
            self._forwarded.labels(result)
        for result in FETCHES:
            self._keys.labels(result)
        for phase in HANG_UPS:
            self._hang_ups.labels(phase)
        for cause in CLOSED:
            self._closed.labels(cause)
        self._seconds = {kind: upstream.labels(kind) for kind in ("ask", "stream")}

    def _of(self, kind: type[Metric], name: str, meaning: str, *labels: str) -> Metric:
        return kind(f"{GATE_METRICS}{name}", meaning, labels, registry=self.registry)

    def watch(self, directory: SecretDirectory) -> None:
        """Add metrics of the tokens, which are read when Prometheus asks."""
        tokens = self._of(Gauge, "tokens", "Tokens that were read, also those that have ended.", "purpose")
        created = self._of(
            Gauge,
            "oldest_token_created_timestamp_seconds",
            "The time at which the oldest token was made; 0 without one.",
            "purpose",
        )
        expires = self._of(
            Gauge,
            "next_token_end_timestamp_seconds",
            "The time at which the next token ends; 0 if no token has an end.",
            "purpose",
        )
        read = self._of(
            Gauge, "tokens_read_timestamp_seconds", "The time at which the tokens were read last; 0 before."
        )
        read.set_function(lambda: directory.read_at)
        for purpose in Purpose:
            tokens.labels(purpose.value).set_function(_gauge_of(directory, purpose, len))
            created.labels(purpose.value).set_function(
                _gauge_of(directory, purpose, lambda known: earliest(one.created for one in known))
            )
            expires.labels(purpose.value).set_function(
                _gauge_of(directory, purpose, lambda known: earliest(one.expires for one in known))
            )

    def expect_unclear(self, rules: Iterable[str]) -> None:
        """Count no unclear answer to operations of these rules: a counter that begins with 1 has not increased."""
        for rule in rules:
            self._requests.labels(rule, "unknown")

    def decided(self, rule: str, decision: str) -> None:
        self._requests.labels(rule, decision).inc()

    def refused(self, refusal: Refusal) -> None:
        self._refusals.labels(reason_of(type(refusal))).inc()

    def failed(self) -> None:
        self._errors.inc()

    def audit_failed(self) -> None:
        self._audit.inc()

    def unlogged(self) -> None:
        self._unlogged.inc()

    def hung_up(self, phase: str) -> None:
        self._hang_ups.labels(phase).inc()

    def answer_cut(self) -> None:
        self._cuts.inc()

    def malformed(self) -> None:
        self._malformed.inc()

    def connections(self, count: int) -> None:
        self._connections.set(count)

    def closed(self, cause: str) -> None:
        self._closed.labels(cause).inc()

    def checked(self, result: str) -> None:
        self._people.labels(result).inc()

    def leads(self, leads: bool) -> None:
        self._leads.set(leads)

    def forwarded(self, result: str) -> None:
        self._forwarded.labels(result).inc()

    def lease_failed(self) -> None:
        self._lease_errors.inc()

    def keys_fetched(self, result: str) -> None:
        self._keys.labels(result).inc()

    def under_way(self) -> AbstractContextManager[None]:
        """Return a context manager for the time of one request."""
        return self._in_flight.track_inprogress()

    @contextmanager
    def upstream(self, kind: str) -> Iterator[None]:
        """Measure the time until MLflow begins to answer, or fails to."""
        began = perf_counter()
        try:
            yield
        finally:
            self._seconds[kind].observe(perf_counter() - began)


def reasons() -> list[str]:
    return [reason_of(kind) for kind in Refusal.__subclasses__()]


def reason_of(kind: type[Refusal]) -> str:
    """Return the label of a kind of refusal: `too_large` for TooLarge."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()


def earliest(moments: Iterable[datetime | None]) -> float:
    there = [moment for moment in moments if moment]
    return min(there).timestamp() if there else 0.0


def _gauge_of(
    directory: SecretDirectory, purpose: Purpose, measured: Callable[[list[KnownToken]], float]
) -> Callable[[], float]:
    def now() -> float:
        tokens = directory.last or Tokens()
        return measured([known for known in tokens.by_fingerprint.values() if known.key.purpose is purpose])

    return now
