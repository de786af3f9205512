"""Log lines as JSON, one per line: the message is constant, values are fields (`extra={"fields": {...}}`)."""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, TextIO


def timestamp(seconds: float) -> str:
    """Return seconds since the epoch as ISO 8601, in UTC, with milliseconds."""
    whole, milliseconds = divmod(int(seconds * 1000), 1000)
    return f"{_second(whole)}.{milliseconds:03}+00:00"


@lru_cache(1)
def _second(whole: int) -> str:
    """Return the part that all lines of one second share: a busy server writes thousands of them."""
    return datetime.fromtimestamp(whole, UTC).strftime("%Y-%m-%dT%H:%M:%S")


def dumps(line: dict[str, Any]) -> str:
    """Return the line as JSON, for an application that has no faster library."""
    return json.dumps(line, default=str, ensure_ascii=False)


class JsonFormatter(logging.Formatter):
    """Writes `time`, `level`, `logger`, `message`, then the line's fields, then the traceback of an exception."""

    def __init__(
        self, write: Callable[[dict[str, Any]], str], *, names_logger: bool = True, traceback_field: str = "trace"
    ) -> None:
        super().__init__()
        self._write, self._names_logger, self._traceback_field = write, names_logger, traceback_field

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        line: dict[str, Any] = {"time": timestamp(record.created), "level": record.levelname.lower()}
        if self._names_logger:
            line["logger"] = record.name
        line["message"] = record.getMessage()
        line |= getattr(record, "fields", {})
        if record.exc_info:
            line[self._traceback_field] = self.formatException(record.exc_info)
        return self._write(line)


def configure(stream: TextIO, formatter: JsonFormatter, *, level: int | str = logging.INFO) -> None:
    """Send the lines of every logger of the process to the stream."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=level, force=True)
