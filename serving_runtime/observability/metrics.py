"""The metrics of the server, counted over all of its workers."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from model_contract.names import RUNTIME_METRICS as PREFIX
from model_contract.shared_metrics import Metric, SharedMetrics, exposition, gauge, joined, renamed
from serving_runtime.errors import InvalidInputError, MalformedRequestError, UnsupportedMediaTypeError
from serving_runtime.http.errors import (
    BodyTooLargeError,
    BrokenBodyError,
    ClientDisconnectedError,
    DeadlineError,
    DecompressedBodyTooLargeError,
    EncodedBodyError,
    QueueFullError,
    TooManyRowsError,
)
from serving_runtime.protocols.open_inference.protocol import GRPC
from serving_runtime.protocols.table import PROTOCOLS

if TYPE_CHECKING:
    from serving_runtime.model import Model

UNKNOWN_PATH: Final = "none"  # the protocol of a request of an unknown path; only predictions are counted
PROTOCOL_NAMES: Final = (*(protocol.name for protocol in (*PROTOCOLS, GRPC)), UNKNOWN_PATH)
CLIENT_LEFT: Final = 499  # nginx's code for a client that closed the connection
CODES: Final = (*(int(status) for status in HTTPStatus if status >= HTTPStatus.OK), CLIENT_LEFT)
OTHER: Final = "other"
SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
ROWS: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1000.0, 10_000.0)
SHED: Final[Mapping[str, tuple[type[Exception], ...]]] = {
    "queue_full": (QueueFullError,),
    "deadline": (DeadlineError,),
    "client_left": (ClientDisconnectedError,),
}
UNRECORDED: Final = ("behind", "failed", "worker_ended")
TRACED: Final = ("sent", "failed", "not_made")
FAULTS: Final[Mapping[str, tuple[type[Exception], ...]]] = {
    "malformed": (MalformedRequestError, BrokenBodyError),
    "input": (InvalidInputError,),
    "media_type": (UnsupportedMediaTypeError, EncodedBodyError),
    "too_large": (BodyTooLargeError, DecompressedBodyTooLargeError, TooManyRowsError),
}

METRICS: Final = (
    Metric(
        name=f"{PREFIX}requests_total",
        kind="counter",
        meaning="Answered requests.",
        labels=("protocol", "code"),
        series=[(protocol, str(code)) for protocol in PROTOCOL_NAMES for code in (*CODES, OTHER)],
    ),
    Metric(
        name=f"{PREFIX}request_seconds",
        kind="histogram",
        meaning="From the head of a request to its answer.",
        labels=("protocol",),
        series=[(protocol,) for protocol in PROTOCOL_NAMES],
        bounds=SECONDS,
    ),
    Metric(name=f"{PREFIX}predict_seconds", kind="histogram", meaning="One call of the model.", bounds=SECONDS),
    Metric(name=f"{PREFIX}batch_rows", kind="histogram", meaning="Rows of one call of the model.", bounds=ROWS),
    Metric(
        name=f"{PREFIX}batch_requests", kind="histogram", meaning="Requests of one call of the model.", bounds=ROWS[:7]
    ),
    Metric(name=f"{PREFIX}inflight", kind="gauge", meaning="Requests that have no answer yet."),
    Metric(
        name=f"{PREFIX}queue_depth", kind="gauge", meaning="Requests that waited when the last call of the model ended."
    ),
    Metric(
        name=f"{PREFIX}shed_total",
        kind="counter",
        meaning="Requests without a prediction: the queue was full, time ran out, or the client left.",
        labels=("reason",),
        series=[(reason,) for reason in SHED],
    ),
    Metric(
        name=f"{PREFIX}validation_errors_total",
        kind="counter",
        meaning="Requests that were refused for what was in them.",
        labels=("kind",),
        series=[(kind,) for kind in FAULTS],
    ),
    Metric(name=f"{PREFIX}capture_records_total", kind="counter", meaning="Requests that the recorder took."),
    Metric(name=f"{PREFIX}capture_written_total", kind="counter", meaning="Requests of them that are written."),
    Metric(
        name=f"{PREFIX}capture_dropped_total",
        kind="counter",
        meaning="Requests that are not recorded: not taken by a recorder that was behind, or taken and then lost.",
        labels=("reason",),
        series=[(reason,) for reason in UNRECORDED],
    ),
    Metric(
        name=f"{PREFIX}traced_requests_total",
        kind="counter",
        meaning="Sampled requests by the fate of their spans: sent, not sent, or not made for want of time.",
        labels=("outcome",),
        series=[(outcome,) for outcome in TRACED],
    ),
)


class Metrics:
    """The metrics of one worker, in its own row of the memory that all workers share."""

    def __init__(self, shared: SharedMetrics, row: int) -> None:
        self._shared = shared
        self._cells = shared.row(row)
        self._starts = {name.removeprefix(PREFIX): start for name, start in shared.starts.items()}
        requests = self._starts["requests_total"]
        self._codes = {code: position for position, code in enumerate(CODES)}
        self._requests = {
            protocol: requests + position * (len(CODES) + 1) for position, protocol in enumerate(PROTOCOL_NAMES)
        }
        width = len(SECONDS) + 2
        self._times = {
            protocol: self._starts["request_seconds"] + position * width
            for position, protocol in enumerate(PROTOCOL_NAMES)
        }

    def answered(self, protocol: str, status: int, seconds: float) -> None:
        self._cells[self._requests[protocol] + self._codes.get(status, len(CODES))] += 1.0
        self._observe(self._times[protocol], SECONDS, seconds)

    def predicted(self, requests: int, rows: int, seconds: float) -> None:
        self._observe(self._starts["predict_seconds"], SECONDS, seconds)
        self._observe(self._starts["batch_rows"], ROWS, rows)
        self._observe(self._starts["batch_requests"], ROWS[:7], requests)

    def inflight(self, change: int) -> None:
        self._cells[self._starts["inflight"]] += change

    def queue_depth(self, depth: int) -> None:
        self._cells[self._starts["queue_depth"]] = depth

    def refused_by(self, error: Exception) -> None:
        """Count an error of the request's content or of its time; any other is counted by its status alone."""
        for name, labels in (("shed_total", SHED), ("validation_errors_total", FAULTS)):
            for position, errors in enumerate(labels.values()):
                if isinstance(error, errors):
                    self._cells[self._starts[name] + position] += 1.0

    def captured(self) -> None:
        self._cells[self._starts["capture_records_total"]] += 1.0

    def capture_behind(self) -> None:
        self._cells[self._starts["capture_dropped_total"]] += 1.0

    def capture_failed(self, requests: int) -> None:
        self._cells[self._starts["capture_dropped_total"] + 1] += requests

    def capture_written(self, requests: int) -> None:
        self._cells[self._starts["capture_written_total"]] += requests

    def capture_ended(self) -> int:
        """Return the requests that the recorder of an ended worker took and has not written, and count them."""
        taken, written = (self._cells[self._starts[f"capture_{name}_total"]] for name in ("records", "written"))
        dropped = self._starts["capture_dropped_total"]
        lost = int(taken - written - self._cells[dropped + 1] - self._cells[dropped + 2])
        self._cells[dropped + 2] += lost
        return lost

    def spans_sent(self, requests: int) -> None:
        self._cells[self._starts["traced_requests_total"]] += requests

    def spans_failed(self, requests: int) -> None:
        self._cells[self._starts["traced_requests_total"] + 1] += requests

    def spans_not_made(self) -> None:
        self._cells[self._starts["traced_requests_total"] + 2] += 1.0

    def exposition(self, model: "Model | None", name: str, version: str) -> bytes:
        """Return all metrics as text; once there is a model, also its prediction times under KServe's name."""
        if model is None:
            return exposition(self._shared)
        metadata = model.metadata
        flavor = next((flavor for flavor in metadata.flavors if flavor != "python_function"), "python_function")
        info = {"run_id": metadata.run_id or "", "version": version, "flavor": flavor, "name": name}
        lines = [
            *gauge(f"{PREFIX}model_info", "The model that is served.", info, 1.0),
            *gauge(f"{PREFIX}load_seconds", "Seconds that the load of the model took.", {}, model.load_seconds),
            *renamed(self._shared, f"{PREFIX}predict_seconds", "request_predict_seconds", {"model_name": name}),
        ]
        return exposition(self._shared) + joined(lines)

    def _observe(self, start: int, bounds: Sequence[float], value: float) -> None:
        self._cells[start + bisect_left(bounds, value)] += 1.0
        self._cells[start + len(bounds) + 1] += value


def new_shared_metrics(workers: int) -> SharedMetrics:
    """Return the memory for so many workers: while they are replaced there are twice as many.

    One row more is that of the placeholder server.
    """
    return SharedMetrics(METRICS, 2 * workers + 2)
