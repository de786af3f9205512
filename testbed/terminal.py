"""A program at a terminal, which shows a person more than it writes to a file."""

import os
import pty
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path


def run_at_terminal(command: Sequence[str | Path], environment: Mapping[str, str]) -> tuple[int, str]:
    """Run a program whose standard error is a terminal; return its exit code and what the terminal was sent."""
    main, terminal = pty.openpty()
    environment = {**environment, "TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=terminal) as process:
        os.close(terminal)
        shown = _read_all(main)
    return process.returncode, shown


def _read_all(descriptor: int) -> str:
    content = b""
    with os.fdopen(descriptor, "rb", buffering=0) as stream, suppress(OSError):  # the other end is closed
        while piece := stream.read(1 << 16):
            content += piece
    return content.decode()
