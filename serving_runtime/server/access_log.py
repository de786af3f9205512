"""One line per request: who asked for what, and how it went. Nothing of what was sent or predicted, nor the query."""

import asyncio
import logging
import sys
import time
from typing import Any, Final

import orjson

from model_contract.json_log import timestamp
from serving_runtime.server.course import Course
from serving_runtime.server.request import Request

LONGEST_PATH: Final = 200  # characters; a longer one is nothing that is served here
LOGGER: Final = "serving_runtime.access"

_log = logging.getLogger(LOGGER)


class AccessLog:
    """Lines in the form of all others. Those of one turn of the loop, which are as many as there are in a batch, are
    one write.
    """

    def __init__(self) -> None:
        self._lines: list[bytes] = []

    def write(self, request: Request, course: Course, *, quiet: bool) -> None:
        """Probes come every few seconds: they are `quiet`, and logged where the log's level asks for it."""
        if not _log.isEnabledFor(logging.DEBUG if quiet else logging.INFO):
            return
        if not self._lines:
            asyncio.get_running_loop().call_soon(self._flush)
        self._lines.append(orjson.dumps(_line(request, course, quiet=quiet), option=orjson.OPT_APPEND_NEWLINE))

    def _flush(self) -> None:
        lines = b"".join(self._lines)
        self._lines.clear()
        sys.stdout.buffer.write(lines)
        sys.stdout.buffer.flush()


def _line(request: Request, course: Course, *, quiet: bool) -> dict[str, Any]:
    line: dict[str, Any] = {
        "time": timestamp(time.time()),
        "level": "debug" if quiet else "info",
        "logger": LOGGER,
        "message": "request",
        "request_id": request.id,
        "method": request.method,
        "path": request.path[:LONGEST_PATH],
        "status": course.status,
        "ms": round(course.seconds * 1000, 3),
        "bytes_in": request.announced,
        "bytes_out": course.sent,
    }
    if request.trace:
        line["trace_id"] = request.trace
    if not quiet:
        line["protocol"] = course.protocol
        line["rows"] = course.rows
    if course.read is not None:
        line["read_ms"] = round(course.read * 1000, 3)
    if course.waited is not None and course.predicted is not None:
        line["wait_ms"] = round(course.waited * 1000, 3)
        line["predict_ms"] = round(course.predicted * 1000, 3)
        line["merged"] = course.merged
    return line
