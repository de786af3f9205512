"""One line per request: who asked for what, and how it went. Nothing of what was sent or predicted, nor the query."""

import logging
from typing import Any, Final

from serving_runtime.server.course import Course
from serving_runtime.server.request import Request

LONGEST_PATH: Final = 200  # characters; a longer one is nothing that is served here

_log = logging.getLogger("serving_runtime.access")


def write(request: Request, course: Course, *, quiet: bool) -> None:
    """Probes come every few seconds: they are `quiet`, and logged where the log's level asks for it."""
    level = logging.DEBUG if quiet else logging.INFO
    if not _log.isEnabledFor(level):
        return
    fields: dict[str, Any] = {
        "request_id": request.id,
        "method": request.method,
        "path": request.path[:LONGEST_PATH],
        "status": course.status,
        "ms": round(course.seconds * 1000, 3),
        "bytes_in": request.announced,
        "bytes_out": course.sent,
    }
    if request.trace:
        fields["trace_id"] = request.trace
    if not quiet:
        fields |= {"protocol": course.protocol, "rows": course.rows}
    if course.read is not None:
        fields["read_ms"] = round(course.read * 1000, 3)
    if course.waited is not None and course.predicted is not None:
        fields |= {"wait_ms": round(course.waited * 1000, 3), "predict_ms": round(course.predicted * 1000, 3), "merged": course.merged}
    _log.log(level, "request", extra={"fields": fields})
