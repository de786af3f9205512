"""Load by `wrk` with one thread, and its output as numbers."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

RATE: Final = re.compile(r"Requests/sec:\s+([0-9.]+)")
PERCENTILE: Final = re.compile(r"^\s+(50|99)%\s+([0-9.]+)(us|ms|s) *$", re.MULTILINE)
SCRIPT: Final = """wrk.method = "POST"
{headers}local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
"""
JSON: Final = {"Content-Type": "application/json"}
# longer than any load: a late answer counts with its time, and is no error (KServe's at 64 connections take 2 s)
TIMEOUT: Final = "60s"
MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class WrkError(RuntimeError):
    """The load could not be made, or not every answer was good."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """Requests per second, and the 50th and 99th percentile of their times in milliseconds."""

    rate: float
    p50: float
    p99: float


def load(url: str, body: Path, *, connections: int, seconds: int = 5, headers: Mapping[str, str] = JSON) -> Load:
    """POST the file `body` over kept connections. Raises WrkError."""
    script = body.with_suffix(".lua")
    lines = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())
    script.write_text(SCRIPT.format(headers=lines, body=body))
    return _run(url, connections, seconds, "--script", str(script))


def reads(url: str, headers: Mapping[str, str], *, connections: int, seconds: int = 5) -> Load:
    """GET over kept connections. Raises WrkError."""
    return _run(url, connections, seconds, *(f"--header={name}: {value}" for name, value in headers.items()))


def _run(url: str, connections: int, seconds: int, *more: str) -> Load:
    if not (wrk := shutil.which("wrk")):
        raise WrkError("wrk is not installed; it is the package wrk of Debian and Ubuntu")
    options = [
        "--threads",
        "1",
        "--connections",
        str(connections),
        "--duration",
        f"{seconds}s",
        "--timeout",
        TIMEOUT,
        "--latency",
        *more,
    ]
    output = subprocess.run([wrk, *options, url], capture_output=True, text=True, check=True).stdout
    rate, found = (
        RATE.search(output),
        {percent: float(value) * MILLISECONDS[unit] for percent, value, unit in PERCENTILE.findall(output)},
    )
    if "Non-2xx" in output or "Socket errors" in output or not rate or found.keys() != {"50", "99"}:
        raise WrkError(f"not every request was answered well:\n{output}")
    return Load(rate=float(rate[1]), p50=found["50"], p99=found["99"])
