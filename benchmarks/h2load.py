"""Load by `h2load`, which speaks gRPC's HTTP/2 and HTTP/1.1: one client, as light as wrk, for both protocols."""

import shutil
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.wrk import Load

PROGRAM: Final = "h2load"  # of the package nghttp2-client of Debian and Ubuntu
GRPC: Final = ("--header=content-type: application/grpc", "--header=te: trailers")
HTTP: Final = ("--h1", "--header=content-type: application/json")
OK: Final = "200"


class H2loadError(RuntimeError):
    """Not every request was answered well."""


def is_installed() -> bool:
    return shutil.which(PROGRAM) is not None


def grpc_body(message: bytes) -> bytes:
    """Return the body of a call with this message: not packed, and its length before it."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def load(url: str, body: Path, *options: str, connections: int, seconds: int = 5) -> Load:
    """POST the file `body`, one request at a time on each connection. Raise H2loadError.

    The status of gRPC is in trailers, which h2load does not read; ghz does.
    """
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log"
        counts = [f"--clients={connections}", "--max-concurrent-streams=1", f"--duration={seconds}"]
        command = [PROGRAM, *counts, *options, f"--data={body}", f"--log-file={log}", url]
        subprocess.run(command, capture_output=True, check=True)
        lines = [line.split("\t") for line in log.read_text().splitlines()]
    if not lines or {status for _, status, _ in lines} != {OK}:
        raise H2loadError(f"not every request was answered well: {url}")
    times = statistics.quantiles((int(microseconds) / 1000 for _, _, microseconds in lines), n=100)
    return Load(rate=len(lines) / seconds, p50=times[49], p99=times[98])
