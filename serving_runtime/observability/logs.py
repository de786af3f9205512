"""Log of the runtime's server: JSON lines on standard output."""

import logging
import sys
from typing import Any

import orjson

from model_contract import json_log


def configure() -> None:
    """Write the lines of every logger of the process."""
    json_log.configure(sys.stdout, json_log.JsonFormatter(_json))
    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # it logs start and end of each process, as gunicorn does


def _json(line: dict[str, Any]) -> str:
    return orjson.dumps(line, default=str).decode()
