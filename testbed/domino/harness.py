"""Domino's server in the container of a model API: imports the file once, then calls its function for each request.

As a process: `python -m testbed.domino.harness --file model.py --function predict --port N --model-id ID --number N`,
in the folder of the files. It listens when the file is imported, and answers with Domino's envelope.
"""

import argparse
import importlib.util
import json
import os
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from testbed.http_server import send_json

Json = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """The function, and the model API and version that it belongs to."""

    function: Callable[..., Any]
    model_id: str
    number: int

    def answer(self, body: bytes) -> tuple[int, Json]:
        """Return status and document."""
        try:
            document = json.loads(body)
            args, kwargs = call_of(document)
        except ValueError as error:
            return 400, {"error": str(error)}
        started = time.monotonic()
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001  whatever the project's code raises is the caller's answer
            return 500, {"error": f"{type(error).__name__}: {error}"}
        release = {"harness_version": "0.1", "model_version": self.model_id, "model_version_number": self.number}
        spent = round((time.monotonic() - started) * 1000)
        return 200, {"model_time_in_ms": spent, "release": release, "request_id": uuid.uuid4().hex, "result": result}


def call_of(document: Any) -> tuple[list[Any], Json]:
    """Return the call's arguments: `data` by keyword, `parameters` by position. Raises ValueError."""
    if isinstance(document, dict) and isinstance(document.get("data"), dict):
        return [], document["data"]
    if isinstance(document, dict) and isinstance(document.get("parameters"), list):
        return document["parameters"], {}
    raise ValueError('the body must be {"data": {...}} or {"parameters": [...]}')


class Handler(BaseHTTPRequestHandler):
    server: "Server"

    def do_GET(self) -> None:
        send_json(self, 200, {"status": "up"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        send_json(self, *self.server.harness.answer(body))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name of the base class
        """Log nothing: a request's data does not belong in a log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, port: int, harness: Harness) -> None:
        super().__init__(("127.0.0.1", port), Handler)
        self.harness = harness


def function_of(file: Path, name: str) -> Callable[..., Any]:
    """Import the file as a module, with its folder on the path, and return the function."""
    sys.path.insert(0, str(file.parent))
    specification = importlib.util.spec_from_file_location(file.stem, file)
    if specification is None or specification.loader is None:
        raise SystemExit(f"{file} is not a Python file")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    if not (function := getattr(module, name, None)):
        raise SystemExit(f"{file} has no function {name}")
    found: Callable[..., Any] = function
    return found


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Answer for a model API")
    parser.add_argument("--file", type=Path, required=True)
    parser.add_argument("--function", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--model-id", required=True)
    parser.add_argument("--number", type=int, required=True)
    options = parser.parse_args(argv)
    os.chdir(options.file.parent)
    function = function_of(options.file, options.function)
    Server(options.port, Harness(function=function, model_id=options.model_id, number=options.number)).serve_forever()


if __name__ == "__main__":
    main()
