"""Log of the webhook's server: JSON lines on standard output."""

import logging
import sys
from typing import Any

import orjson

from model_contract import json_log


def configure(level: str) -> None:
    """Write the lines of every logger of the process, gunicorn's too."""
    formatter = json_log.JsonFormatter(_json, names_logger=False, traceback_field="traceback")
    json_log.configure(sys.stdout, formatter, level=level.upper())
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs each request to the Kubernetes API


def _json(line: dict[str, Any]) -> str:
    return orjson.dumps(line, default=str).decode()
