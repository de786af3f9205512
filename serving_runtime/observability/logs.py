"""Log lines as JSON, one per line: the message is constant, values are fields (`extra={"fields": {...}}`)."""

import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import orjson


def timestamp(seconds: float) -> str:
    """ISO 8601, of seconds since the epoch."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_second(whole)}.{milliseconds:03}+00:00"


@lru_cache(1)
def _second(whole: int) -> str:
    """The same for all lines of one second, of which a busy server writes thousands."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


class JsonFormatter(logging.Formatter):
    """`time`, `level`, `logger`, `message`, then the fields of the line, then `trace` where there was an exception."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": timestamp(record.created),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line["trace"] = self.formatException(record.exc_info)
        return orjson.dumps(line, default=str).decode()


def configure() -> None:
    """All loggers of the process write to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger("uvicorn").setLevel(
        logging.WARNING
    )  # each process says that it starts and ends: gunicorn says so too
