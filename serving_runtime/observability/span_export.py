"""The thread that sends spans. Requests never wait for it: what it cannot send in time is dropped and counted."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from opentelemetry.sdk.environment_variables import (
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE,
    OTEL_BSP_MAX_QUEUE_SIZE,
    OTEL_BSP_SCHEDULE_DELAY,
)
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

# The numbers of OpenTelemetry's own batch processor.
DEFAULTS: Final = {OTEL_BSP_SCHEDULE_DELAY: 5000, OTEL_BSP_MAX_QUEUE_SIZE: 2048, OTEL_BSP_MAX_EXPORT_BATCH_SIZE: 512}
SPANS_OF_A_REQUEST: Final = 4
SHARE: Final = 0.02  # of the processor time that a worker gets, at most, for making and sending spans
FLUSH: Final = 3.0  # seconds for the last spans of a process that ends
LONGEST_REASON: Final = 200  # characters
EXPORTERS: Final = "opentelemetry.exporter"

_log = logging.getLogger(__name__)

Spans = Callable[[float], Sequence[ReadableSpan]]


class SpanCounts(Protocol):
    """The counters of traced requests."""

    def spans_sent(self, requests: int) -> None: ...

    def spans_failed(self, requests: int) -> None: ...

    def spans_not_made(self) -> None: ...


class SpanExport(SpanProcessor):
    """A bounded queue of requests without spans so far, and the thread that makes and sends their spans."""

    def __init__(
        self, exporter: SpanExporter, environ: Mapping[str, str], counts: SpanCounts, *, processors: float = 1.0
    ) -> None:
        """`processors` are those that this process may use."""
        self._exporter = exporter
        self._share = SHARE * min(1.0, processors)
        self._counts = counts
        self._delay = _number(environ, OTEL_BSP_SCHEDULE_DELAY) / 1000
        self._most = max(1, _number(environ, OTEL_BSP_MAX_QUEUE_SIZE) // SPANS_OF_A_REQUEST)
        self._batch = min(self._most, max(1, _number(environ, OTEL_BSP_MAX_EXPORT_BATCH_SIZE) // SPANS_OF_A_REQUEST))
        self._waiting: deque[Spans] = deque()
        self._awake = threading.Event()
        self._closing = threading.Event()
        self._failing = False
        self._reason = _LastMessage()
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def has_room(self) -> bool:
        """Return True if the spans of a request would be taken; a request that is refused is counted."""
        if len(self._waiting) < self._most:
            return True
        self._counts.spans_not_made()
        return False

    def put(self, spans: Spans) -> None:
        """Take a request. `spans` is called in the thread, with the time of day when the performance counter was 0."""
        self._waiting.append(spans)
        if len(self._waiting) >= self._batch:
            self._awake.set()

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span of the model's own code."""
        if len(self._waiting) < self._most:
            self.put(lambda _: [span])

    def finish(self) -> None:
        """Wait until all spans are sent, for FLUSH seconds at most."""
        self._closing.set()
        self._awake.set()
        self._thread.join(FLUSH)
        self._exporter.shutdown()
        if self._waiting:
            _log.warning("the last spans were not sent", extra={"fields": {"requests": len(self._waiting)}})

    def _run(self) -> None:
        while not self._closing.is_set():
            self._awake.wait(self._delay)
            self._awake.clear()
            self._send_waiting()

    def _send_waiting(self) -> None:
        """Send a batch, and others while there are whole ones; all if the process ends and the exporter works."""
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            began, called = time.thread_time(), time.perf_counter()
            made = self._made(batch, clock())
            making, waited = time.thread_time() - began, time.perf_counter() - called
            self._send(made, len(batch))
            rest = pause(time.thread_time() - began, waited / making if making else 1.0, self._share)
            if self._closing.is_set():
                if self._failing:
                    return
            elif self._closing.wait(rest) or len(self._waiting) >= self._batch:
                continue
            else:
                return

    def _made(self, batch: Sequence[Spans], zero_at: float) -> Sequence[ReadableSpan] | None:
        try:
            return [span for spans in batch for span in spans(zero_at)]
        except Exception:  # noqa: BLE001  the edge of a thread
            _log.exception("spans could not be made")
            return None

    def _send(self, spans: Sequence[ReadableSpan] | None, requests: int) -> None:
        result = SpanExportResult.FAILURE
        if spans is not None:
            try:
                result = self._exporter.export(spans)
            except Exception:  # noqa: BLE001  the edge of a thread
                _log.exception("spans could not be sent")
        if result is SpanExportResult.SUCCESS:
            self._counts.spans_sent(requests)
            if self._failing:
                _log.info("spans are sent again")
            self._failing = False
            return
        self._counts.spans_failed(requests)
        if not self._failing:
            _log.warning("spans are not sent, and are dropped", extra={"fields": {"reason": self._reason.text}})
        self._failing = True


def clock() -> float:
    """Return the time of day when the performance counter was 0: of three readings, the one that took least time."""

    def read() -> tuple[float, float]:
        before, now, after = time.perf_counter(), time.time(), time.perf_counter()
        return after - before, now - (before + after) / 2

    return min(read() for _ in range(3))[1]


def pause(spent: float, slowdown: float, share: float) -> float:
    """Return the seconds to wait after `spent` seconds of processor, so that they are at most the share of all.

    `slowdown` is how many times longer it took by the clock: a process that gets a tenth of a processor spends a tenth.
    """
    return spent * (max(1.0, slowdown) / share - 1)


class _LastMessage(logging.Handler):
    """Keeps the last message of the exporter, which would write one for each try."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        logger = logging.getLogger(EXPORTERS)
        logger.addHandler(self)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()[:LONGEST_REASON]


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "").strip()
    return int(text) if text.isdecimal() and 0 < len(text) < 10 and int(text) else DEFAULTS[name]  # noqa: PLR2004  digits
