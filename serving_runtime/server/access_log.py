"""One line per request: who asked for what, and how it went. Nothing of what was sent or predicted, nor the query."""

import logging
from typing import Final

from serving_runtime.server.request import Request

CLIENT_LEFT: Final = 499  # as nginx has it: there was nobody to answer
LONGEST_PATH: Final = 200  # characters; a longer one is nothing that is served here

_log = logging.getLogger("serving_runtime.access")


def write(request: Request, *, status: int, seconds: float, sent: int, quiet: bool) -> None:
    """Probes come every few seconds: they are `quiet`, and logged where the log's level asks for it."""
    level = logging.DEBUG if quiet else logging.INFO
    if not _log.isEnabledFor(level):
        return
    fields = {
        "request_id": request.id,
        "method": request.method,
        "path": request.path[:LONGEST_PATH],
        "status": status,
        "ms": round(seconds * 1000, 3),
        "bytes_in": request.announced,
        "bytes_out": sent,
    }
    _log.log(level, "request", extra={"fields": fields})
