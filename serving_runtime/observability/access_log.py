"""The access log: one line per request, with nothing of the query, of the request's body or of the prediction."""

import asyncio
import logging
import sys
import time
from typing import Any, Final

import orjson

from model_contract.json_log import timestamp
from serving_runtime.http.request_head import RequestHead
from serving_runtime.observability.request_stats import RequestStats

LONGEST_PATH: Final = 200  # characters; a longer one is nothing that is served here
LOGGER: Final = "serving_runtime.access"

_log = logging.getLogger(LOGGER)


class AccessLog:
    """Lines in the form of all other log lines. Those of one turn of the event loop are one write."""

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def write(self, request: RequestHead, stats: RequestStats, *, quiet: bool) -> None:
        """Log a request. A `quiet` one is logged at level debug: probes come every few seconds."""
        if not _log.isEnabledFor(logging.DEBUG if quiet else logging.INFO):
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(orjson.dumps(_line(request, stats, quiet=quiet), option=orjson.OPT_APPEND_NEWLINE))

    def _flush(self) -> None:
        lines = b"".join(self._lines)
        self._lines.clear()
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()


def _line(request: RequestHead, stats: RequestStats, *, quiet: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "time": timestamp(time.time()),
        "level": "debug" if quiet else "info",
        "logger": LOGGER,
        "message": "request",
        "request_id": request.id,
        "method": request.method,
        "path": request.path[:LONGEST_PATH],
        "status": stats.status,
        "ms": round(stats.seconds * 1000, 3),
        "bytes_in": request.content_length if stats.received is None else stats.received,
        "bytes_out": stats.sent,
    }
    if trace := stats.trace or request.trace:
        line["trace_id"] = trace.trace_id
    if not quiet:
        line["protocol"] = stats.protocol
        line["rows"] = stats.rows
    if stats.read is not None:
        line["read_ms"] = round(stats.read * 1000, 3)
    if stats.waited is not None and stats.predicted is not None:
        line["wait_ms"] = round(stats.waited * 1000, 3)
        line["predict_ms"] = round(stats.predicted * 1000, 3)
        line["merged"] = stats.merged
    return line
