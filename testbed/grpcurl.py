"""grpcurl, compiled from its Go module: a client that learns everything by reflection."""

import subprocess
from pathlib import Path
from typing import Final

from testbed.go_programs import program

MODULE: Final = Path(__file__).parent / "grpcurl"
PACKAGE: Final = "github.com/fullstorydev/grpcurl/cmd/grpcurl"


def grpcurl(port: int, *arguments: str, data: str | None = None) -> str:
    """Return what grpcurl prints. Raises CalledProcessError."""
    given = [] if data is None else ["-d", data]
    command: list[str | Path] = [program(MODULE, PACKAGE), "-plaintext", *given, f"127.0.0.1:{port}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
