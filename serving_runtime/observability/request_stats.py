"""Times and counts of one request, for the log, the metrics and the client."""

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving_runtime.observability.metrics import CLIENT_LEFT, UNKNOWN_PATH

if TYPE_CHECKING:
    from serving_runtime.observability.request_trace import RequestTrace


@dataclass(slots=True)
class RequestStats:
    """Times in seconds. `waited` is from the end of reading to the prediction, less the call of the model itself.

    `received` are the bytes of a message without a Content-Length. `merged` requests were in the call of the model.
    `status` is that of a client who left, until there is an answer. `began` and `done`, the end of reading, are of
    Python's performance counter. `trace` is None if the request has no spans.
    """

    began: float = field(default_factory=time.perf_counter)
    trace: "RequestTrace | None" = None
    protocol: str = UNKNOWN_PATH
    rows: int | None = None
    received: int | None = None
    read: float | None = None
    done: float = 0.0
    waited: float | None = None
    predicted: float | None = None
    merged: int | None = None
    status: int = CLIENT_LEFT
    sent: int = 0
    seconds: float = 0.0

    def end(self) -> None:
        self.seconds = time.perf_counter() - self.began

    @property
    def server_timing(self) -> bytes | None:
        """The value of the header Server-Timing, in milliseconds (https://www.w3.org/TR/server-timing/)."""
        if self.read is None or self.waited is None or self.predicted is None:
            return None
        return b"read;dur=%.3f, wait;dur=%.3f, predict;dur=%.3f" % (
            self.read * 1000,
            self.waited * 1000,
            self.predicted * 1000,
        )
