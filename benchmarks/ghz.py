"""Load by `ghz`, compiled from its Go module, and its output as numbers."""

import json
import subprocess
from pathlib import Path
from typing import Final

from benchmarks.wrk import Load
from serving_runtime.protocols.open_inference.messages import INFERENCE
from testbed.go_programs import program

MODULE: Final = Path(__file__).parent.parent / "testbed" / "ghz"
PACKAGE: Final = "github.com/bojand/ghz/cmd/ghz"
PROTO: Final = Path(__file__).parent.parent / "serving_runtime/protocols/open_inference/inference.proto"
MILLISECONDS: Final = 1e-6  # a nanosecond


class GhzError(RuntimeError):
    """Not every call was answered well."""


def load(port: int, body: Path, *, connections: int, seconds: int = 5) -> Load:
    """Call ModelInfer with the message in the file `body`, one call at a time on each connection. Raises GhzError."""
    options = {
        "--proto": PROTO,
        "--call": f"{INFERENCE.services[0]}.ModelInfer",
        "--binary-file": body,
        "--concurrency": connections,
        "--connections": connections,
        "--duration": f"{seconds}s",
        "--duration-stop": "wait",
        "--format": "json",
    }
    arguments = [str(part) for option in options.items() for part in option]
    command: list[str | Path] = [program(MODULE, PACKAGE), "--insecure", *arguments, f"127.0.0.1:{port}"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    if set(found["statusCodeDistribution"]) != {"OK"}:
        raise GhzError(f"not every call was answered well: {found['statusCodeDistribution']}")
    times = {each["percentage"]: each["latency"] * MILLISECONDS for each in found["latencyDistribution"]}
    return Load(rate=found["rps"], p50=times[50], p99=times[99])
